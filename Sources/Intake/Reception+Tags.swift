// Reception+Tags.swift — the tag that a message's header has, noted in its envelope, so that limits and pauses may be about it.
//
// A message without the field costs nothing: the scanner of the header sees its name in passing.

import Mail
import MessageFormat
import NIOCore

extension Reception {
    /// Notes the tag of a header that has just ended, while that is in memory.
    func noteTag() {
        guard let draft, draft.header.hasEnded, draft.tag == nil, !draft.isSpilling else { return }
        draft.tag = rules.tag(of: body, draft.header)
    }
}

extension IntakeRules {
    /// What the header at the front of a message says of its kind.
    func tag(of message: ByteBuffer, _ header: HeaderBlock) -> String? {
        guard header.sawWatched, let name = tagHeader,
            let bytes = message.getBytes(at: message.readerIndex, length: min(header.size, message.readableBytes))
        else { return nil }
        return HeaderGlance(bytes, tagHeader: Array(name.utf8)).tag
    }
}

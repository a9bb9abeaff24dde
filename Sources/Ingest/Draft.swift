// Draft.swift — a message while it is received: what is known of it, what it costs, where its bytes are.

import Mail
import MessageFormat
import NIOCore
import Storage

/// The message between DATA and its 250.
///
/// The bytes that are in memory lie in the handler's body buffer.
struct Draft {
    /// Bytes of a large body that are gathered before they are written.
    static let spillBlock = 128 << 10

    let id: QueueID
    let startedAt: Timestamp
    var header: HeaderBlock
    /// Octets of the body buffer that the header scanner has seen.
    var scanned = 0
    /// What its signatures need; nil when nobody's mail is signed.
    let dkim: DKIMDraft?
    /// Octets of the body buffer that ``dkim`` has seen.
    var hashed = 0
    /// Bytes reserved in the queue's memory budget.
    var reserved = 0
    /// The body's file once it has outgrown memory.
    var file: (any LargeBody)?
    /// Bytes go to a file, which exists or is about to.
    var isSpilling = false

    init(id: QueueID, at time: Timestamp, headerLimit: Int, dkim: DKIMDraft?) {
        self.id = id
        startedAt = time
        self.dkim = dkim
        header = HeaderBlock(limit: headerLimit)
    }
}

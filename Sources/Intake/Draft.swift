// Draft.swift — a message while it is received: what is known of it, what it costs, where its bytes are.

import Config
import Mail
import MessageFormat
import NIOCore
import Queue
import Storage

/// The message between its first octet and its acceptance.
///
/// The bytes that are in memory lie in ``Reception/body``. A reference, since each step of a reception holds it while it changes.
final class Draft {
    /// Bytes of a large body that are gathered before they are written.
    static let spillBlock = 128 << 10

    /// Another one once its body was written anew.
    var id: QueueID
    /// Of further messages that it becomes, where each recipient gets one of its own.
    var others: [QueueID] = []
    let startedAt: Timestamp
    /// Who hands it in, where somebody has proved to be somebody.
    var login: Login?
    var header: HeaderBlock
    /// What its header goes through as soon as that is complete.
    var editing = HeaderEditing()
    /// Its header is kept in memory until it is complete, because somebody edits or reads it.
    var awaitsHeader = false
    /// Which of its addresses become others; nil: none.
    var rewriter: Rewriter?
    /// What its copy for an archive tells of its header.
    var glance = JournalReport.Glance()
    /// What its header says of its kind.
    var tag: String?
    /// Fields of ours that stand behind the trace fields, complete lines.
    var added: [UInt8] = []
    /// It goes to an address of the operator's instead of its recipients.
    var isStaged = false
    /// What was put right in it.
    var mending = Mending()
    /// Octets of the body buffer that the header scanner has seen.
    var scanned = 0
    /// Gathers what its signatures need; nil when nobody's mail is signed.
    var dkim: DKIMDraft?
    /// What is to be signed, once the message is complete; nil when nobody's keys are to sign it.
    var signature: DKIMWork?
    /// Octets of the body buffer that ``dkim`` has seen.
    var hashed = 0
    /// Bytes reserved in the queue's memory budget.
    var reserved = 0
    /// The body's file once it has outgrown memory.
    var file: (any LargeBody)?
    /// What was counted for it.
    var use: EntryUse?
    /// What waits of its login is limited.
    var seat: EntrySeat?
    /// Bytes go to a file, which exists or is about to.
    var isSpilling = false

    init(id: QueueID, at time: Timestamp, header: HeaderBlock, dkim: DKIMDraft? = nil, signature: DKIMWork? = nil) {
        self.id = id
        startedAt = time
        self.header = header
        self.dkim = dkim
        self.signature = signature
    }
}

/// What the decoder has seen of a message's octets.
package struct ContentTraits: Hashable, Sendable {
    /// Some line begins with a dot.
    package let hasLeadingDots: Bool
    /// Some octet is above 127.
    package let isEightBit: Bool

    package init(hasLeadingDots: Bool, isEightBit: Bool) {
        self.hasLeadingDots = hasLeadingDots
        self.isEightBit = isEightBit
    }
}

/// A complete message on its way through plugins and signers.
final class Pending {
    /// Plugins may change it.
    var envelope: Envelope
    let provenance: Provenance
    var traits: ContentTraits
    /// What keeps it back once it is queued.
    var hold: Hold?
    /// Where it waits for the note of what it tells.
    let tray: ReportTray?
    /// It is not to go on: it is a report to an address of ours, and goes into the history.
    var returned: ReturnedMail?
    /// `queue_outbound` is asked about it.
    let passesPlugins: Bool

    init(
        envelope: Envelope,
        provenance: Provenance,
        traits: ContentTraits,
        hold: Hold? = nil,
        tray: ReportTray? = nil,
        passesPlugins: Bool = true
    ) {
        self.envelope = envelope
        self.provenance = provenance
        self.traits = traits
        self.hold = hold
        self.tray = tray
        self.passesPlugins = passesPlugins
    }

    func content(_ prologue: ByteBuffer, _ body: Content.Body) -> Content {
        Content(
            prologue: prologue,
            body: body,
            hasLeadingDots: traits.hasLeadingDots,
            isEightBit: traits.isEightBit
        )
    }
}

/// What a disk thread did for a message.
struct Spilled: Sendable {
    let file: (any LargeBody)?
    let error: QueueError?

    /// Blocks: appends a block, to a new file if there is none, and syncs the file when it is the last one.
    static func write(
        _ block: ByteBuffer,
        to file: (any LargeBody)?,
        of id: QueueID,
        in queue: MailQueue,
        isLast: Bool
    ) -> Spilled {
        var open = file
        do throws(QueueError) {
            let file = if let file { file } else { try queue.makeLargeBody(id) }
            open = file
            if block.readableBytes > 0 { try file.write(block) }
            if isLast { try file.finish() }
            return Spilled(file: file, error: nil)
        } catch {
            return Spilled(file: open, error: error)
        }
    }
}

// Intake.swift — the one way in: from an envelope and the bytes of a message to a message that is accepted, or an answer.
//
// Whoever hands mail in keeps its sockets, its time and its manners; everything else is decided here, once: room and
// memory, what the header may hold, our own lines, `queue_outbound`, signatures, the queue, the line in the log, and what
// is said when it cannot be. A client that sends while we receive uses a ``Reception``; whoever has the whole message
// calls ``submit(_:on:)``.

package import Config
package import Filters
package import Hooks
package import Log
package import Loop
import Mail
package import Queue
package import Suppression

/// What every way in shares.
package struct Intake: Sendable {
    package let queue: MailQueue
    /// Asked before a message is queued.
    package let plugins: PluginChain
    package let log: LogSink
    /// Those in force; never blocks.
    package let settings: InForce<Settings>

    /// Who gets nothing; nil: nobody knows.
    package let suppressions: SuppressionList?
    /// Somebody gets nothing.
    package var knowsSuppressions: Bool { suppressions.map { !$0.isEmpty } ?? false }
    /// Milters; nil: there never are any.
    package let filters: FilterChain?
    /// Tells senders of recipients that a milter does not want.
    package let refusals = RefusalReports()

    /// Counts who sends how much.
    package let gate: EntryGate
    /// Marks copies for archives, so that none of them is archived again.
    let marks: ArchiveMarks

    package init(
        queue: MailQueue,
        plugins: PluginChain,
        log: LogSink,
        settings: InForce<Settings>,
        suppressions: SuppressionList? = nil,
        gate: EntryGate? = nil,
        filters: FilterChain? = nil,
        marks: ArchiveMarks = ArchiveMarks()
    ) {
        self.queue = queue
        self.plugins = plugins
        self.log = log
        self.settings = settings
        self.suppressions = suppressions
        self.gate = gate ?? EntryGate(nil, queue, log: log)
        (self.filters, self.marks) = (filters, marks)
    }
}

/// What the settings say about messages that come in: the part that a session keeps.
///
/// A reference, since every reception keeps them and asks them at every step.
package final class IntakeRules: Sendable {
    let me: Domain
    /// A message beyond it goes to a file while it is received, bytes.
    let inMemoryBytes: Int
    let headerBytes: Int
    /// `Received` fields that a message may have: more is a loop.
    let receivedHeaders: Int
    /// What `Received` says of us; nil: there is no such line.
    let comment: String?
    let dkim: DKIMSettings
    let refusesForeignAuthors: Bool
    /// Each recipient gets a message of its own.
    let splits: Bool
    let local: LocalMail
    /// Some milter may want to see a message.
    let hasMilters: Bool
    let messageBytes: Int
    /// The field whose value events carry; nil: none.
    let tagHeader: String?
    /// `rewrite.ini`.
    let rewriting: Rewriting
    /// What failures are called.
    let replyClasses: ReplyClassifier
    /// `archive.ini`.
    let archive: ArchiveSettings
    /// Names the listeners that rules are about.
    let listeners: ListenerSettings

    /// Some rule depends on how a message comes in.
    package var asksForWay: Bool { !rewriting.isEmpty || !archive.isEmpty }

    package init(_ settings: Settings) {
        me = settings.me
        inMemoryBytes = settings.listener.inMemoryBytes
        headerBytes = settings.listener.headerBytes
        receivedHeaders = settings.listener.receivedHeaders
        comment = settings.outbound.receivedHeader
        dkim = settings.dkim
        refusesForeignAuthors = settings.auth.refusesForeignAuthors
        splits = settings.outbound.alwaysSplit
        local = settings.local
        hasMilters = !settings.milters.isEmpty
        messageBytes = settings.listener.messageBytes
        tagHeader = settings.events.tagHeader
        rewriting = settings.rewriting
        replyClasses = settings.replyClasses
        archive = settings.archive
        listeners = settings.listener
    }
}

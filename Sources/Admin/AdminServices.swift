// AdminServices.swift — what the handlers work on. The engine does not know that the API exists.

package import Config
package import Departure
package import History
package import Intake
package import Log
package import Mail
package import NIOCore
package import Queue
package import Storage
package import Suppression

/// What the relay lends to its API.
package struct AdminServices: Sendable {
    package let queue: MailQueue
    package let settings: SettingsStore
    package let log: LogSink
    /// Where the queue's answers arrive; handlers wait for them on their own threads.
    package let loop: any EventLoop
    package let bulk: BulkActions
    /// The queue seen as a whole, for the page.
    package let overview: Overview
    /// What changes by itself, for all who look on.
    package let live = LiveBoard()
    /// Browsers that are logged in.
    package let sessions: BrowserSessions
    /// What requests may hold in memory.
    package let memory: RequestMemory
    /// The program's version.
    package let version: String
    package let startedAt: Timestamp
    /// Hands a message in: what it is, when it goes, its id where that was chosen before, whose it is.
    package typealias Submit =
        @Sendable (Envelope, ByteBuffer, Timestamp?, QueueID?, Caller) async -> Result<[QueueID], SubmitRefusal>

    /// Queues a message as reception does, hooks included; done when it is durable.
    ///
    /// Its id comes first, then those of further ones, where each recipient has one of its own.
    package let submit: Submit
    /// Knows which way a recipient's mail would go.
    package let guide: Guide
    /// What happened; nil where it is not remembered.
    package let history: @Sendable () -> HistoryBook?
    package let metrics: PrometheusRegistry
    /// What `/readyz` asks of the parts that the API does not know; see ``ReadinessCheck``.
    package let checks: @Sendable () -> [ReadinessCheck]
    /// Who sends events to receivers.
    package let webhooks: any WebhookControl
    /// Events for those who follow them; nil: none are kept.
    package let feed: @Sendable () -> EventFeed?
    /// The relays that share the queue; nil: it is this one's alone.
    package let cluster: (any Cluster)?
    /// Changes that were looked at first.
    let plans = ChangePlans()
    /// Listings of all nodes that are under way.
    package let listings = ClusterListings()
    /// Who gets nothing; nil: it cannot be known.
    package let suppressions: SuppressionList?
    /// Who may hand in how much; nil: nobody counts.
    package let gate: EntryGate?
    /// What other relays handed over; nil: nothing can be.
    package let arrivals: Arrivals?
    /// Why nobody could listen at an address now, as `[::]` that leaves IPv4 to others or not; nil: nothing is known against it.
    package let obstacle: @Sendable (ListenAddress, _ isV6Only: Bool) -> String?

    package init(
        queue: MailQueue,
        settings: SettingsStore,
        log: LogSink,
        loop: any EventLoop,
        version: String,
        startedAt: Timestamp,
        submit: @escaping Submit,
        guide: Guide,
        history: @escaping @Sendable () -> HistoryBook? = { nil },
        metrics: PrometheusRegistry,
        checks: @escaping @Sendable () -> [ReadinessCheck],
        webhooks: any WebhookControl = NoWebhooks(),
        feed: @escaping @Sendable () -> EventFeed? = { nil },
        cluster: (any Cluster)? = nil,
        suppressions: SuppressionList? = nil,
        gate: EntryGate? = nil,
        arrivals: Arrivals? = nil,
        obstacle: @escaping @Sendable (ListenAddress, _ isV6Only: Bool) -> String? = { _, _ in nil }
    ) {
        self.queue = queue
        self.settings = settings
        self.log = log
        self.loop = loop
        bulk = BulkActions(queue)
        overview = Overview(queue)
        sessions = BrowserSessions(relay: "\(settings.current.local.me) \(settings.directory)")
        memory = RequestMemory(queue.memory) { settings.current.listener.memoryForMail / 2 }
        self.version = version
        self.startedAt = startedAt
        self.submit = submit
        self.guide = guide
        self.history = history
        self.metrics = metrics
        self.checks = checks
        self.webhooks = webhooks
        self.feed = feed
        self.cluster = cluster
        self.suppressions = suppressions
        self.gate = gate
        self.arrivals = arrivals
        self.obstacle = obstacle
    }
}

/// One thing that must hold for mail to be taken, or that people want to know who ask for that.
package struct ReadinessCheck: Hashable, Sendable {
    /// How it is; the raw value is the word of the API.
    package enum State: String, Hashable, Sendable {
        case good = "ok"
        /// Mail is taken all the same, and somebody should look.
        case degraded
        /// No mail is taken.
        case failed
        /// For information only.
        case note = "info"
    }

    package let name: String
    package let state: State
    /// For people; no paths and no addresses of ours.
    package let detail: String

    package init(_ name: String, _ state: State, _ detail: String) {
        self.name = name
        self.state = state
        self.detail = detail
    }
}

/// What a change was, for the log.
struct Change {
    var operation: String
    /// What was changed: a message, a section, a file.
    var subject = ""
    /// Without secrets.
    var before = ""
    var after = ""
}

extension AdminServices {
    /// Runs something asynchronous to its end; blocks the connection's thread, which is made for that.
    func wait<Value: Sendable>(_ body: @escaping @Sendable () async -> Value) throws(Problem) -> Value {
        do {
            return try loop.makeFutureWithTask { await body() }.wait()
        } catch {
            throw Problem.stopping
        }
    }

    /// One line for every change, so that it can be told who did what (reliability O7).
    func audit(_ request: AdminRequest, _ change: Change) {
        log.write(.notice, "changed through the API") { line in
            line.add(.operation, change.operation)
            line.add(.actor, request.caller.name)
            if let address = request.caller.address { line.add(.client, "\(address)") }
            if !change.subject.isEmpty { line.add(.subject, change.subject) }
            if !change.before.isEmpty { line.add(.before, change.before) }
            if !change.after.isEmpty { line.add(.after, change.after) }
            line.add(.request, request.id)
        }
    }
}

// PluginChain.swift — asks plugins in order; the first answer that is not `.next` wins.
//
// Guarantees: every question is answered within the deadline of each plugin asked (`plugin_timeout`). A plugin that misses
// it counts as: reject 451 for `queue_outbound`, try later for `get_mx`, `.next` otherwise. With no plugin for a hook the
// price is one load of a constant: ask ``asks(_:)`` first, and only then prepare what a hook needs.

package import Log
package import Mail
import Synchronization

/// The plugins in force.
package final class PluginChain: Sendable {
    /// A delay that a plugin asks for is between these.
    package static let delays: ClosedRange<Duration> = .seconds(1) ... .seconds(365 * 86_400)

    private struct Active: Sendable {
        var plugins: [any Plugin] = []
    }

    /// This task is a plugin's, which is asked `queue_outbound` now: mail that it hands in itself does not pass the hook
    /// again, or it would never end.
    @TaskLocal package static var isAsking = false

    private let active = Mutex(Active())
    /// The raw value of the hooks that some active plugin serves.
    private let asked = Atomic<UInt16>(0)
    private let deadline: @Sendable () -> Duration
    private let sleep: @Sendable (Duration) async -> Void
    private let log: LogSink

    /// - Parameters:
    ///   - plugins: in the order in which they are asked, until ``use(_:)``.
    ///   - log: for missed deadlines and answers that cannot be used.
    ///   - deadline: of one call, now.
    ///   - sleep: waits for a deadline.
    package init(
        _ plugins: [any Plugin],
        log: LogSink,
        deadline: @escaping @Sendable () -> Duration,
        sleep: @escaping @Sendable (Duration) async -> Void = { try? await Task.sleep(for: $0) }
    ) {
        self.log = log
        self.deadline = deadline
        self.sleep = sleep
        use(plugins)
    }

    /// Whether any active plugin serves one of these hooks; cheap, from any thread.
    package func asks(_ hooks: HookSet) -> Bool { asked.load(ordering: .relaxed) & hooks.rawValue != 0 }

    /// The plugins that are asked for a hook, in order.
    package func names(for hook: Hook) -> [String] { plugins(for: hook).map(\.name) }

    /// Starts plugins; none may be used before.
    package func start(_ plugins: [any Plugin], _ services: any RelayServices) async {
        for plugin in plugins where await call(nil, { await plugin.start(services) }) == nil {
            log.write(.error, "plugin did not start in time") { $0.add(.plugin, plugin.name) }
        }
    }

    /// From now on these plugins are asked, in this order, for the hooks they serve now.
    package func use(_ plugins: [any Plugin]) {
        let hooks = plugins.reduce(into: HookSet()) { $0.formUnion($1.hooks) }
        active.withLock { $0.plugins = plugins }
        asked.store(hooks.rawValue, ordering: .relaxed)
    }
}

// MARK: - The six hooks

extension PluginChain {
    /// Asks whether a message may be queued; plugins may change its envelope.
    package func queueOutbound(
        _ envelope: inout Envelope,
        _ contents: MessageContents,
        id: QueueID
    ) async -> QueueOutboundAnswer {
        var edits = MessageEdits()
        for plugin in plugins(for: .queueOutbound) {
            let asked = envelope
            let answer = await call(.queueOutbound) { () -> (QueueOutboundAnswer, Envelope) in
                var changed = asked
                let answer = await Self.$isAsking.withValue(true) { await plugin.queueOutbound(&changed, contents) }
                return (answer, changed)
            }
            guard let (answer, changed) = answer else {
                missed(.queueOutbound, plugin, id)
                return .reject(Reply(451, EnhancedStatus(4, 3, 0), "a plugin gave no answer in time, try again later"))
            }
            switch answer {
            case .next, .edit:
                var all = edits
                if case .edit(let more) = answer { all.add(more) }
                let isUsable = !changed.recipients.isEmpty && changed.notes.isWithinBounds && all.isWithinBounds
                guard !isUsable else {
                    (envelope, edits) = (changed, all)
                    continue
                }
                useless(.queueOutbound, plugin, id, "an envelope without recipients, or too many notes or fields")
                return .reject(Reply(451, EnhancedStatus(4, 3, 0), "a plugin failed, try again later"))
            case .taken: return .taken
            case .reject(let reply): return .reject(reply.asRefusal())
            }
        }
        return edits.isEmpty ? .next : .edit(edits)
    }

    /// Asks whether a mail may be sent now.
    package func sendEmail(_ mail: HMail) async -> SendEmailAnswer {
        for plugin in plugins(for: .sendEmail) {
            switch await call(.sendEmail, { await plugin.sendEmail(mail) }) {
            case nil: missed(.sendEmail, plugin, mail.id)
            case .next: break
            case .delay(let time): return .delay(Self.bounded(time))
            }
        }
        return .next
    }

    /// Asks where mail to a domain shall go.
    package func getMX(_ mail: HMail, domain: Domain) async -> GetMXAnswer {
        for plugin in plugins(for: .getMX) {
            switch await call(.getMX, { await plugin.getMX(mail, domain: domain) }) {
            case nil:
                missed(.getMX, plugin, mail.id)
                return .tryLater("a plugin gave no answer to get_mx in time", counts: false)
            case .next: break
            case .use(let hosts):
                if !hosts.isEmpty { return .use(hosts) }
            case .reject(let reason): return .reject(HookText.harmless(reason))
            case .tryLater(let reason, let counts): return .tryLater(HookText.harmless(reason), counts: counts)
            }
        }
        return .next
    }

    /// Asks what to do after a temporary failure.
    package func deferred(_ mail: HMail, _ notice: DeferredNotice) async -> DeferredAnswer {
        for plugin in plugins(for: .deferred) {
            switch await call(.deferred, { await plugin.deferred(mail, notice) }) {
            case nil: missed(.deferred, plugin, mail.id)
            case .next: break
            case .drop: return .drop
            case .delay(let time): return .delay(Self.bounded(time))
            }
        }
        return .next
    }

    /// Asks whether the sender gets a report.
    package func bounce(_ mail: HMail, _ notice: BounceNotice) async -> BounceAnswer {
        for plugin in plugins(for: .bounce) {
            switch await call(.bounce, { await plugin.bounce(mail, notice) }) {
            case nil: missed(.bounce, plugin, mail.id)
            case .next: break
            case .suppress: return .suppress
            }
        }
        return .next
    }

    /// Tells every plugin.
    package func delivered(_ mail: HMail, _ notice: DeliveredNotice) async {
        for plugin in plugins(for: .delivered)
        where await call(.delivered, { await plugin.delivered(mail, notice) }) == nil {
            missed(.delivered, plugin, mail.id)
        }
    }
}

// MARK: - Clients

extension PluginChain {
    /// Asks whether a client that has connected, or what it says, is taken.
    ///
    /// - Parameter hook: one of connect, mail and rcpt.
    /// - Returns: nil when it is; else what it hears.
    package func receive(_ hook: Hook, _ guest: Guest) async -> Reply? {
        for plugin in plugins(for: hook) {
            let answer = await call(hook) { () -> ReceptionAnswer in
                switch hook {
                case .connect: await plugin.connect(guest)
                case .mail: await plugin.mail(guest)
                default: await plugin.rcpt(guest)
                }
            }
            switch answer {
            case .next?: continue
            case .reject(let reply)?: return reply.asRefusal()
            case nil:
                HookMetrics.count(.late, of: hook)
                log.write(.warning, "hook missed its deadline") { line in
                    line.add(.hook, hook.rawValue)
                    line.add(.plugin, plugin.name)
                }
                return Reply(451, EnhancedStatus(4, 3, 0), "a plugin gave no answer in time, try again later")
            }
        }
        return nil
    }
}

// MARK: - One call

extension PluginChain {
    private func plugins(for hook: Hook) -> [any Plugin] {
        active.withLock { $0.plugins }.filter { $0.hooks.has(hook) }
    }

    /// - Parameter hook: what is measured; nil for a start.
    private func call<Answer: Sendable>(
        _ hook: Hook?,
        _ body: @escaping @Sendable () async -> Answer
    ) async -> Answer? {
        let begin = Uptime.now()
        let answer = await HookCall.run(within: deadline(), sleep: sleep, body)
        if let hook { HookMetrics.count(hook, since: begin) }
        return answer
    }

    private static func bounded(_ time: Duration) -> Duration {
        min(max(time, delays.lowerBound), delays.upperBound)
    }

    private func missed(_ hook: Hook, _ plugin: any Plugin, _ id: QueueID) {
        HookMetrics.count(.late, of: hook)
        log.write(.warning, "hook missed its deadline") { line in
            line.add(.id, id.description)
            line.add(.hook, hook.rawValue)
            line.add(.plugin, plugin.name)
        }
    }

    private func useless(_ hook: Hook, _ plugin: any Plugin, _ id: QueueID, _ reason: String) {
        HookMetrics.count(.useless, of: hook)
        log.write(.error, "hook answered what cannot be used") { line in
            line.add(.id, id.description)
            line.add(.hook, hook.rawValue)
            line.add(.plugin, plugin.name)
            line.add(.reason, reason)
        }
    }
}

// WebhookSender.swift — takes events to their receivers: who is served next, what is read for it, and what an answer means.
//
// Guarantees: an event of the history reaches each receiver that wants it at least once, with the same id however often; after
// a crash twice at most what was on its way. Receivers are served in turn, each with its own place, its own bound of
// requests and its own waits, so that one that hangs or fails costs the others nothing. Mail never waits for any of this.
//
// One thread reads the history and judges answers; requests are out on others (`Courier`). Commands come from any thread
// that may block.

package import Config
package import History
import JSON
package import Log
import Mail
package import NIOCore
package import NIOPosix
import Synchronization

/// The sender of webhooks.
package final class WebhookSender: Sendable {
    /// What it stands on.
    package struct Parts: Sendable {
        package let events: any EventReader
        package let courier: Courier
        /// One thread, which may block.
        package let threads: NIOThreadPool
        /// For timers.
        package let loop: any EventLoop
        package let log: LogSink

        package init(
            events: any EventReader,
            courier: Courier,
            threads: NIOThreadPool,
            loop: any EventLoop,
            log: LogSink
        ) {
            self.events = events
            self.courier = courier
            self.threads = threads
            self.loop = loop
            self.log = log
        }
    }

    struct Receiver: Sendable {
        var endpoint: WebhookSettings.Endpoint
        var line: EndpointLine
        /// The last requests, oldest first.
        var deliveries: [Delivery] = []
        /// When the first event of a body that is not full was seen.
        var noticed: Timestamp?
        /// The place that is kept on disk.
        var saved: UInt64 = 0
        /// The last trouble was told in the log.
        var isTroubleTold = false
    }

    struct State: Sendable {
        var receivers: [String: Receiver] = [:]
        var isTurning = false
        var mustTurn = false
        var isStopped = false
        var timer: Scheduled<Void>?
        var timerAt: Timestamp?
        var token: NewsToken?
    }

    /// Requests that are remembered of each receiver.
    static let mostDeliveries = 100
    /// Milliseconds that a body waits for more events.
    static let gathering: Int64 = 1000
    /// Milliseconds to the next look when the history cannot be read.
    static let trouble: Int64 = 5000
    /// Bytes of events after which a body takes no more.
    static let mostBodyBytes = 256 << 10
    /// Steps of one receiver before it is another's turn.
    private static let stepsInTurn = 16
    private static let prefix = "webhook/"

    let parts: Parts
    let state = Mutex(State())

    package init(_ parts: Parts) { self.parts = parts }

    // MARK: - Life

    /// Begins to send.
    package func start() {
        let token = parts.events.onNews { [weak self] in self?.turn() }
        state.withLock { $0.token = token }
        turn()
    }

    /// Sends nothing more, and lets what is out come back.
    ///
    /// - Parameter patience: milliseconds.
    package func stop(patience: Int64) async {
        let (timer, token) = state.withLock { state in
            state.isStopped = true
            defer { (state.timer, state.token) = (nil, nil) }
            return (state.timer, state.token)
        }
        timer?.cancel()
        withExtendedLifetime(token) {}
        let end = Uptime.now().adding(milliseconds: patience)
        while Uptime.now() < end, state.withLock({ $0.receivers.values.contains { !$0.line.flights.isEmpty } }) {
            try? await Task.sleep(for: .milliseconds(20))
        }
        for name in state.withLock({ Array($0.receivers.keys) }) { save(name) }
    }

    /// The receivers are these from now on; blocks on the history.
    ///
    /// One that is new hears of what happens from now on; one that was here before goes on where it was.
    package func apply(_ settings: WebhookSettings) {
        let known = state.withLock { Set($0.receivers.keys) }
        for endpoint in settings.endpoints {
            for type in endpoint.unknownTypes {
                parts.log.write(.warning, "a webhook names a type that there is not") { line in
                    line.add(.subject, endpoint.name)
                    line.add(.text, type)
                }
            }
            // characters: names are ASCII
            if known.contains(endpoint.name) {
                state.withLock { $0.receivers[endpoint.name]?.endpoint = endpoint }
            } else {
                let receiver = Receiver(endpoint: endpoint, line: line(endpoint.name))
                state.withLock { $0.receivers[endpoint.name] = receiver }
                WebhookMetrics.declare(endpoint.name)
                save(endpoint.name)
            }
        }
        let wanted = Set(settings.endpoints.map(\.name))
        for name in known.subtracting(wanted) {
            save(name)
            state.withLock { $0.receivers[name] = nil }
            WebhookMetrics.forget(name)
        }
        WebhookMetrics.show(receivers: wanted.count)
        turn()
    }

    /// The place of a receiver: the one that was kept, or the end.
    private func line(_ name: String) -> EndpointLine {
        do throws(HistoryError) {
            if let cursor = try parts.events.cursor(Self.prefix + name), let line = EndpointLine(cursor) { return line }
        } catch { tell("the place of a webhook cannot be read", name, "\(error)") }
        return EndpointLine(cursor: parts.events.span.newest)
    }

    /// Keeps a receiver's place.
    func save(_ name: String) {
        guard let line = state.withLock({ $0.receivers[name]?.line }) else { return }
        do throws(HistoryError) {
            try parts.events.keep(EventCursor(name: Self.prefix + name, seq: line.cursor, note: line.kept.bytes))
            state.withLock { $0.receivers[name]?.saved = line.cursor }
        } catch { tell("the place of a webhook cannot be kept", name, "\(error)") }
    }

    /// A receiver is gone for good, and one of the same name begins anew; blocks.
    package func forget(_ name: String) {
        do throws(HistoryError) {
            try parts.events.forgetCursor(Self.prefix + name)
        } catch { tell("the place of a webhook cannot be forgotten", name, "\(error)") }
    }

    func tell(_ message: StaticString, _ name: String, _ reason: String) {
        parts.log.write(.warning, message) { line in
            line.add(.subject, name)
            line.add(.reason, reason)
        }
    }

    // MARK: - Turns

    /// Looks after every receiver soon.
    func turn() {
        let mustSubmit = state.withLock { state in
            state.mustTurn = true
            guard !state.isTurning, !state.isStopped else { return false }
            state.isTurning = true
            return true
        }
        guard mustSubmit else { return }
        parts.threads.submit { [weak self] state in
            guard case .active = state else {
                // Before the first receiver there are no threads.
                self?.state.withLock { $0.isTurning = false }
                return
            }
            self?.run()
        }
    }

    private func run() {
        repeat {
            state.withLock { $0.mustTurn = false }
            var next: Timestamp?
            for name in state.withLock({ Array($0.receivers.keys) }) {
                if let time = serve(name) { next = min(next ?? time, time) }
            }
            if let next { look(at: next) }
        } while state.withLock { state in
            state.isTurning = state.mustTurn && !state.isStopped
            return state.isTurning
        }
    }

    /// Another turn at that time, or before.
    private func look(at time: Timestamp) {
        let delay = max(1, time.milliseconds(since: .now()))
        state.withLock { state in
            if let known = state.timerAt, known <= time, state.timer != nil { return }
            guard !state.isStopped else { return }
            state.timer?.cancel()
            state.timerAt = time
            state.timer = parts.loop.scheduleTask(in: .milliseconds(delay)) { [weak self] in
                self?.state.withLock { $0.timer = nil }
                self?.turn()
            }
        }
    }

    /// Sends what a receiver may have now.
    ///
    /// - Returns: when to look again; nil: when something happens.
    private func serve(_ name: String) -> Timestamp? {
        for _ in 0..<Self.stepsInTurn {
            let now = Timestamp.now()
            guard let receiver = state.withLock({ $0.isStopped ? nil : $0.receivers[name] }),
                receiver.endpoint.isEnabled
            else { return nil }
            let concurrency = receiver.endpoint.concurrency
            guard let wish = receiver.line.wish(at: now, concurrency: concurrency) else {
                return receiver.line.nextTime(after: now, concurrency: concurrency)
            }
            let find: Find
            do throws(HistoryError) {
                find = try read(wish, for: receiver, at: now)
            } catch {
                if error != .off { tell("a webhook cannot read the history", name, "\(error)") }
                return now.adding(milliseconds: Self.trouble)
            }
            let waits = follow(find, wish, name, at: now)
            if let waits { return min(waits, receiver.line.nextTime(after: now, concurrency: concurrency) ?? waits) }
            if case .nothing = find { return receiver.line.nextTime(after: now, concurrency: concurrency) }
        }
        state.withLock { $0.mustTurn = true }
        return nil
    }

    /// Does what a look into the history came to.
    ///
    /// - Returns: when to look again, where nothing else is to be done now.
    private func follow(_ find: Find, _ wish: EndpointLine.Wish, _ name: String, at now: Timestamp) -> Timestamp? {
        switch find {
        case .nothing: return nil
        case .passed(let seq):
            let mustSave = state.withLock { state in
                state.receivers[name]?.line.pass(seq)
                return (state.receivers[name]?.saved ?? seq) + 1000 < seq
            }
            if mustSave { save(name) }
        case .over(let stretch): state.withLock { $0.receivers[name]?.line.finish(stretch) }
        case .lost(let oldest):
            tell("events are gone before a webhook took them", name, "the oldest that is kept is \(oldest)")
            state.withLock { $0.receivers[name]?.line.skip(before: oldest) }
        case .gathering(let until):
            state.withLock { $0.receivers[name]?.noticed = until.adding(milliseconds: -Self.gathering) }
            return until
        case .events(let events): launch(events, wish, name, at: now)
        }
        return nil
    }

    private func launch(_ events: [Event], _ wish: EndpointLine.Wish, _ name: String, at now: Timestamp) {
        guard let first = events.first?.seq, let last = events.last?.seq else { return }
        let launched = state.withLock { state -> (EndpointLine.Flight, WebhookSettings.Endpoint)? in
            guard !state.isStopped, var receiver = state.receivers[name],
                // Somebody gave a command meanwhile: look again.
                receiver.line.wish(at: now, concurrency: receiver.endpoint.concurrency) == wish
            else { return nil }
            var size = receiver.endpoint.size
            if case .stretch(let stretch) = wish { size = min(size, stretch.size) }
            let flight = receiver.line.launch(wish, first: first, last: last, events: events.count, size: size)
            receiver.noticed = nil
            state.receivers[name] = receiver
            return (flight, receiver.endpoint)
        }
        guard let (flight, endpoint) = launched else { return }
        let body = WebhookBody(events, endpoint.format, size: endpoint.size)
        Task { [parts] in
            let outcome = await parts.courier.carry(body, to: endpoint, at: now)
            parts.threads.submit { _ in self.land(flight, name, body.id, outcome, since: now) }
        }
    }
}

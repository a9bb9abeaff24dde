// ReplayReader.swift — events of history into what a replay asks for: attempts, and pauses of persons. Pure.
//
// What history does not have: mail whose turn came and which was put back because its next hop delivers all the same (a session
// too many), and holds; both are left out.

package import History
import Mail

/// Takes events in their order.
package struct ReplayReader: Sendable {
    private struct Key: Hashable {
        let message: QueueID
        let recipient: String
    }

    /// In the order in which they were answered.
    package private(set) var attempts: [ReplayAttempt] = []
    package private(set) var pauses: [ReplayPause] = []
    /// There were more attempts than are looked at.
    package private(set) var isCut = false
    /// Events that were looked at.
    package private(set) var count = 0

    private var users: [QueueID: String] = [:]
    /// When a recipient's next attempt was due, as its last one says.
    private var due: [Key: Timestamp] = [:]
    private var lanes: [String: Lane] = [:]

    package init() {}

    /// What it wants of history.
    package static let types: Set<EventType> = [
        .accepted, .delivered, .deferred, .bounced, .destinationPaused, .destinationRecovered,
    ]

    /// One more event.
    package mutating func take(_ event: Event) {
        count += 1
        switch event.type {
        case .accepted:
            if let message = event.data.message, let user = event.data.user { users[message] = user }
        case .delivered, .deferred, .bounced: takeAttempt(event)
        case .destinationPaused, .destinationRecovered: takePause(event)
        default: break
        }
    }

    private mutating func takePause(_ event: Event) {
        let data = event.data
        guard let subject = data.subject, let scope = LimitScope(subject) else { return }
        // What reactions did is done again by those that are asked about.
        if let actor = data.actor, actor.rest(behind: "reaction ") != nil { return }
        let isBegin = event.type == .destinationPaused
        let pause = Pause(scope, since: event.time, until: data.until, reason: data.text ?? "", by: data.actor ?? "")
        pauses.append(ReplayPause(scope, at: event.time, isBegin ? pause : nil))
    }

    private mutating func takeAttempt(_ event: Event) {
        let data = event.data
        guard let message = data.message, let name = data.recipient, let address = EmailAddress(name) else { return }
        let failure = event.type == .delivered ? nil : Self.failure(data)
        let lane = lane(data)
        defer { due[Key(message: message, recipient: name)] = data.nextAttempt }
        // Recipients of one attempt stand behind one another.
        if let last = attempts.indices.last, attempts[last].message == message, attempts[last].lane == lane,
            attempts[last].answered == event.time, attempts[last].number == data.attempt ?? 1
        {
            attempts[last].envelope.recipients.append(Recipient(address))
            if let failure, !attempts[last].failures.contains(failure) { attempts[last].failures.append(failure) }
            if failure == nil { attempts[last].isDelivered = true }
            if attempts[last].hosts.isEmpty { attempts[last].hosts = Self.hosts(data) }
            return
        }
        guard attempts.count < Replay.mostAttempts else {
            isCut = true
            return
        }
        let sender = data.sender.flatMap { EmailAddress($0) }.map(ReversePath.address) ?? .null
        var envelope = Envelope(sender: sender, recipients: [Recipient(address)])
        (envelope.user, envelope.notes.tag) = (users[message], data.tag)
        func stage(_ name: String) -> Int64? { data.stages.first { $0.name.isSame(octets: name) }?.milliseconds }
        let service = (stage("envelope") ?? 0) + (stage("data") ?? 0)
        let left = event.time.adding(milliseconds: -service)
        let ready = due[Key(message: message, recipient: name)] ?? data.age.map { event.time.adding(milliseconds: -$0) }
        var attempt = ReplayAttempt(message, lane, envelope, due: min(ready ?? left, left), answered: event.time)
        let opening = stage("session").map { $0 + (stage("connect") ?? 0) }
        (attempt.service, attempt.opening, attempt.number) = (service, opening, data.attempt ?? 1)
        attempt.hosts = Self.hosts(data)
        if let failure { attempt.failures = [failure] } else { attempt.isDelivered = true }
        attempts.append(attempt)
    }

    private static func hosts(_ data: EventData) -> [String] {
        guard let host = data.mx?.host, let domain = Domain(host) else { return [] }
        return [domain.name]
    }

    private static func failure(_ data: EventData) -> Failure {
        let words = data.smtp ?? EventData.Words(code: 450, text: "")
        let stage = words.stage.flatMap { name in
            (Failure.Stage.route.rawValue...Failure.Stage.endOfData.rawValue).lazy
                .compactMap { Failure.Stage(rawValue: $0) }.first { "\($0)".isSame(octets: name) }
        }
        return Failure(.recipient, at: stage ?? .recipient, Reply(words.code, words.enhanced, words.text))
    }

    /// The lane of an event, read back from its words.
    private mutating func lane(_ data: EventData) -> Lane {
        let text = data.lane ?? data.route ?? ""
        if let lane = lanes[text] { return lane }
        let name = data.route ?? text
        let isRoute = text.utf8.first == UInt8(ascii: "[")
        let hop: Lane.Hop = isRoute ? .route(name) : Domain(name).map { .domain($0) } ?? .route(name)
        let words = text.words.map(String.init)
        let source = Source(words.compactMap { IPAddress($0) })
        var level: TLSLevel?
        if words.count > 2, words[words.count - 2].isSame(octets: "tls") {
            level = TLSLevel.allCases.first { "\($0)".isSame(octets: words[words.count - 1]) }
        }
        let lane = Lane(hop, from: source, tls: level)
        lanes[text] = lane
        return lane
    }
}

// QueueFilter.swift — which messages are meant: the one filter of listings, flushes and bulk actions. Pure.
//
// All conditions must hold. What the index knows is looked at first; envelopes are read from disk only for messages that
// are left then, and only when a condition asks for one.

package import Mail
import Storage

/// Where a queued message or parcel stands.
package enum QueuedState: UInt8, Hashable, Sendable, CaseIterable {
    /// A session has it.
    case inProgress
    /// It is due.
    case waiting
    /// Its next attempt is in the future.
    case tempFailed
    /// Somebody holds it back.
    case held
    /// It is to bounce, unless somebody revives it.
    case dying

    /// The word for the API: `in_progress`, `waiting`, `temp_failed`, `held`, `dying`.
    package var name: String {
        switch self {
        case .inProgress: "in_progress"
        case .waiting: "waiting"
        case .tempFailed: "temp_failed"
        case .held: "held"
        case .dying: "dying"
        }
    }

    /// The state with that word, or with one that people know from Postfix: `incoming`, `active`, `deferred`, `hold`.
    package init?(word: some StringProtocol) {
        let others: [(String, QueuedState)] = [
            ("incoming", .waiting), ("active", .inProgress), ("deferred", .tempFailed), ("hold", .held),
        ]
        if let state = others.first(where: { word.isSame(octets: $0.0) })?.1 {
            self = state
        } else {
            self.init(name: word)
        }
    }

    /// The state with that word.
    package init?(name: some StringProtocol) {
        guard let state = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = state
    }
}

/// Conditions that a message must satisfy; nil and empty ones always hold.
package struct QueueFilter: Hashable, Sendable {
    /// One of its parcels is in one of these states.
    package var states: Set<QueuedState> = []
    /// Somebody at this domain is a recipient.
    package var domain: Domain?
    package var sender: AddressFilter?
    package var recipient: AddressFilter?
    /// The name of a lane: a section of `routes.ini` as written there, or a domain.
    package var route: String?
    /// Seconds since acceptance.
    package var minAge: Int64?
    /// Seconds since acceptance.
    package var maxAge: Int64?
    /// Failed attempts.
    package var minAttempts: Int?
    package var reason: FailureReason?
    /// Part of the text of the last reply, whatever the case of ASCII letters.
    package var errorContains: String?
    package var dueBefore: Timestamp?

    package init() {}

    /// No condition at all: every message.
    package var isEmpty: Bool { self == QueueFilter() }

    /// Whether envelopes must be read to decide.
    var needsEnvelope: Bool { domain != nil || sender != nil || recipient != nil }

    /// The conditions on the envelope.
    func accepts(_ envelope: Envelope) -> Bool {
        if let sender, !Self.fits(envelope.sender, sender) { return false }
        if let domain, !envelope.recipients.contains(where: { $0.address.domain == domain }) { return false }
        guard let recipient else { return true }
        return envelope.recipients.contains { Self.fits(.address($0.address), recipient) }
    }

    /// People write local parts in any case; for finding mail, case does not matter.
    private static func isSame(_ a: EmailAddress, _ b: EmailAddress) -> Bool {
        // characters: a search; to find one spelling more than was asked for harms nobody
        a == b || a.domain == b.domain && a.local.lowercased().utf8.elementsEqual(b.local.lowercased().utf8)
    }

    private static func fits(_ path: ReversePath, _ party: AddressFilter) -> Bool {
        switch (path, party) {
        case (.null, .null): true
        case (.address(let a), .address(let b)): isSame(a, b)
        case (.address(let address), .domain(let domain)): address.domain == domain
        default: false
        }
    }
}

/// A filter made ready for a walk through the index: texts became numbers, ages became times.
struct PreparedFilter: Sendable {
    let filter: QueueFilter
    private let acceptedFrom: Int64
    private let acceptedUntil: Int64
    /// Replies that satisfy the conditions on the error; nil: any will do.
    private let replies: Set<ReplyPool.Number>?
    private let dueBefore: Uptime?

    init(_ filter: QueueFilter, _ pool: borrowing ReplyPool, now: Uptime, wall: Timestamp) {
        self.filter = filter
        acceptedFrom = filter.maxAge.map { wall.milliseconds &- Self.milliseconds($0) } ?? .min
        acceptedUntil = filter.minAge.map { wall.milliseconds &- Self.milliseconds($0) } ?? .max
        dueBefore = filter.dueBefore.map { now.adding(milliseconds: $0.milliseconds(since: wall)) }
        guard filter.reason != nil || filter.errorContains != nil else {
            replies = nil
            return
        }
        let wanted = filter.errorContains?.lowercasedASCII
        replies = pool.numbers { reply in
            (filter.reason == nil || filter.reason == reply.reason)
                && (wanted.map { reply.text.lowercasedASCII.contains(octets: $0) } ?? true)
        }
    }

    /// Ages that no message can have are as good as endless.
    private static func milliseconds(_ seconds: Int64) -> Int64 { min(max(0, seconds), 1 << 40) * 1000 }

    func accepts(acceptedAt: Timestamp) -> Bool {
        acceptedAt.milliseconds >= acceptedFrom && acceptedAt.milliseconds <= acceptedUntil
    }

    /// Whether parcels have to be looked at.
    var looksAtParcels: Bool {
        !filter.states.isEmpty || filter.route != nil || filter.minAttempts != nil || replies != nil
            || dueBefore != nil
    }

    func accepts(state: QueuedState, failures: Int, reply: ReplyPool.Number, due: Uptime?, lane: () -> Lane) -> Bool {
        if !filter.states.isEmpty, !filter.states.contains(state) { return false }
        if let least = filter.minAttempts, failures < least { return false }
        if let replies, !replies.contains(reply) { return false }
        if let dueBefore, let due, due >= dueBefore { return false }
        if let route = filter.route {
            let lane = lane()
            switch lane.hop {
            case .route(let name): return name == route
            case .domain(let domain): return domain.name == route
            case .preparation(let name): return name == route
            case .chosen: return lane.description == route
            }
        }
        return true
    }
}

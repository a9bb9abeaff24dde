// PeerMemory.swift — what was learnt of peers and lanes by talking to them, kept over restarts: one bounded place.
//
// Guarantees: at most so many entries of each trait, so that no kind of trouble crowds out another, and each with an end; the
// file (`PeerMemory+File.swift`) is replaced as a whole and read as if others had written it. Nothing here is needed for mail to
// be right: who forgets only learns again.

package import Files
package import Mail
import Synchronization

/// What can be learnt of a peer or a lane.
package enum Trait: String, Hashable, Sendable, CaseIterable {
    /// A session of the peer ended while commands stood behind a dot, and nobody could say what became of the message:
    /// with it a transaction waits for the one before.
    case losesCount = "loses_count"
    /// The lane takes at most so many recipients in one transaction.
    case recipients
    /// The lane takes the recipients of one domain in one transaction.
    case oneDomain = "one_domain"
    /// Connections to the address were not answered: others of its host come first.
    case silent
    /// TLS with the peer came to nothing, for the first time at so many milliseconds since 1970; see ``TLSTrouble``.
    case brokenTLS = "broken_tls"
    /// It came to nothing again after a while.
    case lackingTLS = "lacking_tls"
    /// In the clear the peer took no mail.
    case refusingClear = "refusing_clear"
    /// Sessions with the lane stood lately: after a start nothing is kept from it.
    case answers

    /// Milliseconds after which it must be learnt anew at the latest: servers change.
    var lifespan: Int64 {
        switch self {
        case .losesCount, .answers: 7 * 86_400_000
        case .recipients, .oneDomain: 86_400_000
        case .silent: 600_000
        case .brokenTLS, .lackingTLS, .refusingClear: 3_600_000
        }
    }

    /// Told as ``TLSTrouble``.
    var isOfTLS: Bool {
        switch self {
        case .brokenTLS, .lackingTLS, .refusingClear: true
        case .losesCount, .recipients, .oneDomain, .silent, .answers: false
        }
    }

    /// What makes a difference to where and how mail goes.
    var isTold: Bool { !isOfTLS && self != .answers }
}

/// What was learnt, by ``Departure/peer`` or ``Mail/Lane/description``.
package final class PeerMemory: Sendable {
    /// One thing that is known.
    package struct Known: Hashable, Sendable {
        package let trait: Trait
        /// For a number of recipients; 1 for what is only so or not.
        package let value: Int
        /// When it is forgotten.
        package let until: Timestamp
    }

    struct Entry: Hashable {
        var value: Int
        var until: Timestamp
        /// What the peer said, in one line.
        var words = ""
    }

    struct State {
        var known: [Trait: [String: Entry]] = [:]
        var isChanged = false
        var savedAt = Timestamp(milliseconds: 0)

        var count: Int { known.values.reduce(0) { $0 + $1.count } }
    }

    /// Entries of one trait; beyond, what ends first makes room.
    static let most = 1024
    /// Bytes of a subject; a longer one is not remembered.
    static let longestSubject = 512
    /// Bytes of what a peer said; more is cut.
    static let longestWords = 200

    let disk: (any Disk)?
    let path: String
    let state = Mutex(State())
    /// Entries, for those who ask for each message.
    let count = Atomic<Int>(0)

    /// - Parameters:
    ///   - directory: the data directory.
    ///   - disk: where it is; nil: nothing outlives the process.
    package init(directory: String = "", disk: (any Disk)? = nil) {
        self.disk = disk
        path = "\(directory)/peers"
    }

    /// Notes a lesson, in place of an older one about the same.
    ///
    /// - Parameters:
    ///   - value: positive.
    ///   - time: milliseconds for which it is to be known, at most the trait's life; nil: that.
    ///   - words: what the peer said; control characters were replaced when its reply was read.
    package func learn(
        _ trait: Trait,
        _ value: Int = 1,
        of subject: String,
        at now: Timestamp,
        for time: Int64? = nil,
        words: String = ""
    ) {
        guard Self.mayStand(subject), value > 0 else { return }
        let until = now.adding(milliseconds: min(time ?? trait.lifespan, trait.lifespan))
        let entry = Entry(value: value, until: until, words: Self.line(words))
        state.withLock { state in
            var entries = state.known.removeValue(forKey: trait) ?? [:]
            if entries[subject] == nil, entries.count >= Self.most { Self.makeRoom(&entries, trait, at: now) }
            entries[subject] = entry
            state.known[trait] = entries
            state.isChanged = true
            count.store(state.count, ordering: .relaxed)
        }
    }

    /// Nothing is known of anybody.
    package var isEmpty: Bool { count.load(ordering: .relaxed) == 0 }

    /// What is known; nil when nothing is, or not any more.
    package func value(of trait: Trait, of subject: String, at now: Timestamp) -> Int? {
        entry(trait, of: subject, at: now)?.value
    }

    func entry(_ trait: Trait, of subject: String, at now: Timestamp) -> Entry? {
        if isEmpty { return nil }
        return state.withLock { state in
            state.known[trait]?[subject].flatMap { Self.isInForce($0.until, trait, at: now) ? $0 : nil }
        }
    }

    /// Whether it is known of the subject.
    package func knows(_ trait: Trait, of subject: String, at now: Timestamp) -> Bool {
        value(of: trait, of: subject, at: now) != nil
    }

    /// Everything that is known of a subject, for people; but for TLS, see ``trouble(with:at:)``.
    package func everything(of subject: String, at now: Timestamp) -> [Known] {
        Trait.allCases.filter(\.isTold).compactMap { trait in
            entry(trait, of: subject, at: now).map { Known(trait: trait, value: $0.value, until: $0.until) }
        }
    }

    /// Forgets what turned out to be wrong.
    package func forget(_ traits: Trait..., of subject: String) {
        if isEmpty { return }
        state.withLock { state in
            for trait in traits where state.known[trait]?.removeValue(forKey: subject) != nil { state.isChanged = true }
            count.store(state.count, ordering: .relaxed)
        }
    }

    /// Forgets a trait of everybody.
    func forgetAll(_ trait: Trait) {
        if isEmpty { return }
        state.withLock { state in
            guard state.known.removeValue(forKey: trait) != nil else { return }
            state.isChanged = true
            count.store(state.count, ordering: .relaxed)
        }
    }

    /// An end that lies farther than a lifespan was written by another clock.
    static func isInForce(_ until: Timestamp, _ trait: Trait, at now: Timestamp) -> Bool {
        now < until && until.milliseconds(since: now) <= trait.lifespan
    }

    /// A subject stands in a line of a file, and in front of people.
    static func mayStand(_ subject: String) -> Bool {
        (1...longestSubject).contains(subject.utf8.count) && subject.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    }

    /// What a peer said, as it may stand in a line of the file.
    static func line(_ words: String) -> String {
        let octets = words.utf8.prefix(longestWords).filter { (0x20..<0x7F).contains($0) }
        return String(decoding: octets, as: UTF8.self)
    }

    /// What has ended goes; when nothing has, an eighth that ends first does, so that this is not done for each lesson.
    private static func makeRoom(_ entries: inout [String: Entry], _ trait: Trait, at now: Timestamp) {
        entries = entries.filter { isInForce($0.value.until, trait, at: now) }
        guard entries.count >= most else { return }
        let ends = entries.values.map(\.until).sorted()
        let last = ends[most / 8]
        entries = entries.filter { last < $0.value.until }
    }
}

// PeerMemory.swift — what was learnt of peers and lanes by talking to them, kept over restarts: one bounded place.
//
// Guarantees: at most so many entries, each with an end; the file is replaced as a whole and read as if others had written
// it: a line that does not fit is dropped, and a file that cannot be read is an empty memory. Nothing here is needed for
// mail to be right: who forgets only learns again.

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

    /// Milliseconds after which it must be learnt anew: servers change.
    var lifespan: Int64 {
        switch self {
        case .losesCount: 7 * 86_400_000
        case .recipients, .oneDomain: 86_400_000
        }
    }
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

    private struct Key: Hashable {
        let subject: String
        let trait: Trait
    }

    private struct State {
        var known: [Key: (value: Int, until: Timestamp)] = [:]
        var isChanged = false
        var savedAt = Timestamp(milliseconds: 0)
    }

    /// Entries; beyond, what ends first makes room.
    static let most = 4096
    /// Bytes of a subject; a longer one is not remembered.
    static let longestSubject = 512
    /// Milliseconds between two writes, so that a flood of lessons is not one of the disk.
    private static let pause: Int64 = 5000
    private static let largestFile = 4 << 20
    private static let name = "peers"

    private let disk: (any Disk)?
    private let path: String
    private let state = Mutex(State())
    /// Entries, for those who ask for each message.
    private let count = Atomic<Int>(0)

    /// - Parameters:
    ///   - directory: the data directory.
    ///   - disk: where it is; nil: nothing outlives the process.
    package init(directory: String = "", disk: (any Disk)? = nil) {
        self.disk = disk
        path = "\(directory)/\(Self.name)"
    }

    // MARK: learning and knowing

    /// Notes a lesson, in place of an older one about the same.
    ///
    /// - Parameter value: positive.
    package func learn(_ trait: Trait, _ value: Int = 1, of subject: String, at now: Timestamp) {
        guard Self.mayStand(subject), value > 0 else { return }
        let key = Key(subject: subject, trait: trait)
        let until = now.adding(milliseconds: trait.lifespan)
        state.withLock { state in
            if state.known[key] == nil, state.known.count >= Self.most { Self.makeRoom(&state, at: now) }
            state.known[key] = (value, until)
            state.isChanged = true
            count.store(state.known.count, ordering: .relaxed)
        }
    }

    /// Nothing is known of anybody.
    package var isEmpty: Bool { count.load(ordering: .relaxed) == 0 }

    /// What is known; nil when nothing is, or not any more.
    package func value(of trait: Trait, of subject: String, at now: Timestamp) -> Int? {
        if isEmpty { return nil }
        return state.withLock { state in
            state.known[Key(subject: subject, trait: trait)].flatMap {
                Self.isInForce($0.until, trait, at: now) ? $0.value : nil
            }
        }
    }

    /// Whether it is known of the subject.
    package func knows(_ trait: Trait, of subject: String, at now: Timestamp) -> Bool {
        value(of: trait, of: subject, at: now) != nil
    }

    /// Everything that is known of a subject, for people.
    package func everything(of subject: String, at now: Timestamp) -> [Known] {
        state.withLock { state in
            Trait.allCases.compactMap { trait in
                state.known[Key(subject: subject, trait: trait)].flatMap { entry in
                    Self.isInForce(entry.until, trait, at: now)
                        ? Known(trait: trait, value: entry.value, until: entry.until) : nil
                }
            }
        }
    }

    /// Forgets what turned out to be wrong.
    package func forget(_ trait: Trait, of subject: String) {
        if isEmpty { return }
        state.withLock { state in
            guard state.known.removeValue(forKey: Key(subject: subject, trait: trait)) != nil else { return }
            state.isChanged = true
            count.store(state.known.count, ordering: .relaxed)
        }
    }

    /// An end that lies farther than a lifespan was written by another clock.
    private static func isInForce(_ until: Timestamp, _ trait: Trait, at now: Timestamp) -> Bool {
        now < until && until.milliseconds(since: now) <= trait.lifespan
    }

    /// A subject stands in a line of a file, and in front of people.
    private static func mayStand(_ subject: String) -> Bool {
        (1...longestSubject).contains(subject.utf8.count) && subject.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    }

    /// What has ended goes; when nothing has, an eighth that ends first does, so that this is not done for each lesson.
    private static func makeRoom(_ state: inout State, at now: Timestamp) {
        state.known = state.known.filter { isInForce($0.value.until, $0.key.trait, at: now) }
        guard state.known.count >= most else { return }
        let ends = state.known.values.map(\.until).sorted()
        let last = ends[most / 8]
        state.known = state.known.filter { last < $0.value.until }
    }

    // MARK: the file

    /// Reads what an earlier process left.
    ///
    /// Blocks.
    package func load(at now: Timestamp) {
        guard let disk else { return }
        let bytes: [UInt8]
        do throws(DiskError) {
            bytes = try disk.contents(of: path, limit: Self.largestFile)
        } catch {
            // Nobody has learnt anything yet, or it is learnt again.
            return
        }
        let entries = Self.read(bytes, at: now)
        state.withLock { state in
            for (key, entry) in entries.prefix(Self.most) where state.known[key] == nil { state.known[key] = entry }
            count.store(state.known.count, ordering: .relaxed)
        }
    }

    /// Something was learnt that is not on disk, and the last write is long enough ago.
    package func wantsSaving(at now: Timestamp) -> Bool {
        guard disk != nil else { return false }
        return state.withLock { state in
            let age = now.milliseconds(since: state.savedAt)
            return state.isChanged && (age >= Self.pause || age < 0)
        }
    }

    /// Writes what is known, if that has changed.
    ///
    /// Blocks.
    ///
    /// - Throws: why it is not on disk; it is worth another try.
    package func save(at now: Timestamp) throws(DiskError) {
        guard let disk else { return }
        let lines: [String]? = state.withLock { state in
            guard state.isChanged else { return nil }
            state.isChanged = false
            state.savedAt = now
            return state.known.map { key, entry in
                "\(key.trait.rawValue) \(entry.value) \(entry.until.milliseconds) \(key.subject)\n"
            }
        }
        guard let lines else { return }
        do throws(DiskError) {
            try disk.replace(path, with: Array(lines.sorted().joined().utf8), permissions: 0o600)
        } catch {
            state.withLock { $0.isChanged = true }
            throw error
        }
    }

    /// Reads the lines that make sense: `TRAIT VALUE UNTIL SUBJECT`.
    private static func read(_ bytes: [UInt8], at now: Timestamp) -> [(Key, (value: Int, until: Timestamp))] {
        bytes.split(octet: "\n").compactMap { line in
            let words = line.split(octet: " ", maxSplits: 3)
            guard words.count == 4, let texts = texts(words), let trait = Trait(rawValue: texts[0]),
                let value = Int(texts[1]), value > 0, let end = Int64(texts[2]), mayStand(texts[3])
            else { return nil }
            let until = Timestamp(milliseconds: end)
            guard Timestamp.storable.contains(until), isInForce(until, trait, at: now) else { return nil }
            return (Key(subject: texts[3], trait: trait), (value, until))
        }
    }

    private static func texts(_ words: [ArraySlice<UInt8>]) -> [String]? {
        let texts = words.compactMap { String(validating: $0, as: UTF8.self) }
        return texts.count == words.count ? texts : nil
    }
}

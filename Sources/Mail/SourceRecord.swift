// SourceRecord.swift — what one place answered of late to mail from one address of ours, and whether the address is well there. Pure:
// time is passed in.
//
// Two slices of half an hour: what is older than an hour is forgotten, so that an address that was left is tried again by itself.

/// Answers of one place to one address of ours.
package struct SourceRecord: Hashable, Sendable {
    /// What an answer was.
    package enum Answer: Int, Hashable, Sendable, CaseIterable {
        case delivered
        /// Not now, and not because of who we are.
        case deferred
        /// Never, and not because of who we are.
        case refused
        /// Because of the address, or of a policy of theirs.
        case blocked
        /// Nobody was there, or the session did not come to stand.
        case unreached

        /// What an outcome says of the address that it was sent from.
        ///
        /// A policy that speaks of the sender's domain says nothing of the address.
        /// - Parameters:
        ///   - kinds: the words that the reply's classifiers have for it.
        ///   - isOpening: no session came to stand.
        package init(_ outcome: Outcome, kinds: [String], isOpening: Bool = false) {
            guard let failure = outcome.failure else {
                self = .delivered
                return
            }
            let isBlock = kinds.contains { $0.isSame(octets: ReplyClass.spamBlock.name) }
            let isPolicy = kinds.contains { $0.isSame(octets: ReplyClass.policy.name) }
            if isBlock || isPolicy && Subject(of: failure.reply, kinds: kinds) != .sender {
                self = .blocked
            } else if isOpening {
                self = .unreached
            } else if case .bounced = outcome {
                self = .refused
            } else {
                self = .deferred
            }
        }
    }

    /// How many of each.
    package struct Counts: Hashable, Sendable {
        private var values = SIMD8<Int32>()

        package subscript(answer: Answer) -> Int { Int(values[answer.rawValue]) }
        package var total: Int { Answer.allCases.reduce(0) { $0 + self[$1] } }

        fileprivate mutating func add(_ answer: Answer) { values[answer.rawValue] &+= 1 }

        fileprivate static func + (a: Counts, b: Counts) -> Counts {
            var sum = a
            sum.values &+= b.values
            return sum
        }
    }

    /// Milliseconds of a slice.
    package static let slice: Int64 = 1_800_000
    /// Blocks that are no accident.
    private static let fewestBlocks = 3
    /// One of so many answers.
    private static let part = 5

    private var number: Int64 = 0
    private var young = Counts()
    private var old = Counts()
    /// What was said or found when it was last blocked or not reached; printable, at most 200 bytes.
    package private(set) var said = ""

    package init() {}

    /// One came.
    ///
    /// - Parameter words: the reply, where it is blocked or not reached.
    package mutating func add(_ answer: Answer, _ words: @autoclosure () -> String = "", at now: Uptime) {
        let current = now.milliseconds / Self.slice
        if current != number {
            old = current - number == 1 ? young : Counts()
            (young, number) = (Counts(), current)
        }
        young.add(answer)
        if answer == .blocked || answer == .unreached {
            said = String(
                decoding: words().cut(octets: 200).utf8.map { $0 < 0x20 || $0 == 0x7F ? 0x20 : $0 },
                as: UTF8.self
            )
        }
    }

    /// What came in the last half hour to hour.
    package func counts(at now: Uptime) -> Counts {
        switch now.milliseconds / Self.slice - number {
        case 0: young + old
        case 1: young
        default: Counts()
        }
    }

    /// The address is blocked there: three of its last mails were, and one of five; or it reaches nobody, three times and nothing else.
    package func isUnwell(at now: Uptime) -> Bool {
        let counts = counts(at: now)
        let isBlocked = counts[.blocked] >= Self.fewestBlocks && counts[.blocked] * Self.part >= counts.total
        return isBlocked || counts[.unreached] >= Self.fewestBlocks && counts[.unreached] == counts.total
    }

    /// When it is tried again, if nothing more comes; nil: it is well.
    package func wellAgain(after now: Uptime) -> Uptime? {
        guard isUnwell(at: now) else { return nil }
        let next = Uptime(milliseconds: (now.milliseconds / Self.slice + 1) * Self.slice)
        return isUnwell(at: next) ? next.adding(milliseconds: Self.slice) : next
    }
}

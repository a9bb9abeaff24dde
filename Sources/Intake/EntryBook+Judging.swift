// EntryBook+Judging.swift — whether a message fits into a limit, measure by measure. Pure.

package import Mail
import Queue

/// A message with what limits ask of it.
struct MeasuredMail {
    /// Milliseconds after which it is worth asking again where something waits.
    private static let patience: Int64 = 60_000

    let mail: EntryMail
    /// Numbers of its recipients, no two alike; empty where nobody asks.
    private(set) var keys: [UInt64] = []
    /// What waits of its login, and is on its way to the queue.
    private(set) var waiting = WaitingMail()
    /// Somebody asks for that.
    private(set) var isOfWaiting = false

    init(_ mail: EntryMail) { self.mail = mail }

    /// Finds out what is asked for, and nothing else.
    mutating func measure(
        _ terms: [EntryTerms],
        _ salt: UInt64,
        _ waiting: (String) -> WaitingMail,
        _ seated: [String: WaitingMail]
    ) {
        for terms in terms {
            for (measure, limits) in terms.limits where !limits.isEmpty {
                if measure == .distinct, keys.isEmpty {
                    keys = Array(Set(mail.people.map { Self.number($0.address, salt) }))
                }
                if measure.isOfWaiting, !isOfWaiting, let login = mail.login {
                    isOfWaiting = true
                    self.waiting = waiting(login) + (seated[login] ?? WaitingMail())
                }
            }
        }
    }

    /// What it adds to a sum; nil where that is none.
    func sum(_ measure: EntryMeasure) -> Int? {
        switch measure {
        case .messages: 1
        case .recipients: mail.recipients
        case .bytes: mail.bytes
        case .distinct, .bounces, .waitingMessages, .waitingBytes: nil
        }
    }

    /// When it fits into so many times a limit; nil: now.
    func opens(
        _ measure: EntryMeasure,
        _ limit: EntryLimit,
        times factor: Int,
        _ account: EntryBook.Account?,
        at now: Timestamp
    ) -> Timestamp? {
        let (most, window) = (limit.most * factor, limit.window)
        switch measure {
        case .messages, .recipients, .bytes:
            let count = account?.counts[EntryBook.Key(measure: measure, window: window)]
            return (count ?? WindowCount(window: window)).opens(most, for: sum(measure) ?? 0, at: now)
        case .distinct:
            return (account?.people[window] ?? DistinctCount(window: window)).opens(most, for: keys, at: now)
        case .bounces: return account?.shares[window]?.opens(most, of: limit.least, at: now)
        case .waitingMessages:
            return waiting.messages + mail.parts > limit.most ? now.adding(milliseconds: Self.patience) : nil
        case .waitingBytes:
            let all = waiting.bytes + mail.waiting.bytes
            return all > limit.most ? now.adding(milliseconds: Self.patience) : nil
        }
    }

    /// It is more than there may be at all.
    func isNever(_ measure: EntryMeasure, _ limit: EntryLimit) -> Bool {
        switch measure {
        case .messages, .recipients, .bytes: sum(measure) ?? 0 > limit.most
        case .distinct: keys.count > limit.most
        case .bounces: false
        case .waitingMessages: mail.parts > limit.most
        case .waitingBytes: mail.waiting.bytes > limit.most
        }
    }

    /// FNV-1a, stirred twice; letters of ASCII are small: `Bob@` and `bob@` are one person nearly everywhere.
    private static func number(_ address: EmailAddress, _ salt: UInt64) -> UInt64 {
        var value = 0xCBF2_9CE4_8422_2325 ^ salt
        func take(_ byte: UInt8) {
            value = (value ^ UInt64(byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte)) &* 0x0000_0100_0000_01B3
        }
        for byte in address.local.utf8 { take(byte) }
        take(0)
        for byte in address.domain.name.utf8 { take(byte) }
        value = (value ^ value >> 30 ^ salt) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }
}

extension EntryBook {
    /// The limit of a scope that a message is too much for; of several the one that opens last.
    func surplus(_ mail: MeasuredMail, _ scope: EntryScope, _ terms: EntryTerms, at now: Timestamp) -> Surplus? {
        var found: Surplus?
        let account = accounts[scope]
        for (measure, limits) in terms.limits {
            for limit in limits {
                guard let opens = mail.opens(measure, limit, times: 1, account, at: now) else { continue }
                let isNever = mail.isNever(measure, limit)
                if let found, found.isNever || found.opens >= opens, !isNever { continue }
                var action = terms.then ?? .later
                // What is held back is bounded too, and what is held waits.
                if action == .hold, mail.opens(measure, limit, times: 2, account, at: now) != nil { action = .later }
                found = Surplus(
                    scope: scope,
                    measure: measure,
                    limit: limit,
                    origin: terms.origins[measure.rawValue] ?? "",
                    action: action,
                    opens: opens,
                    isNever: isNever
                )
            }
        }
        return found
    }
}

/// What became of recipients in the last while.
package struct ShareCount: Hashable, Sendable {
    /// Those that are done.
    package private(set) var finished: WindowCount
    /// Those of them that were not delivered to.
    package private(set) var bounced: WindowCount

    /// - Parameter window: milliseconds.
    package init(window: Int64) { (finished, bounced) = (WindowCount(window: window), WindowCount(window: window)) }

    /// As it was written down.
    package init(finished: WindowCount, bounced: WindowCount) { (self.finished, self.bounced) = (finished, bounced) }

    mutating func add(_ results: MailResults, at now: Timestamp) {
        finished.add(results.delivered + results.bounced, at: now)
        bounced.add(results.bounced, at: now)
    }

    /// Per cent that were not delivered to, rounded down.
    package func share(at now: Timestamp) -> Int {
        let all = finished.total(at: now)
        return all > 0 ? bounced.total(at: now) * 100 / all : 0
    }

    /// When the share is no more than so many per cent, or of fewer than so many; nil: now.
    package func opens(_ percent: Int, of least: Int, at now: Timestamp) -> Timestamp? {
        func isTooMuch(_ time: Timestamp) -> Bool {
            let all = finished.total(at: time)
            return all >= least && bounced.total(at: time) * 100 > percent * all
        }
        guard isTooMuch(now) else { return nil }
        return finished.changes(after: now).first { !isTooMuch($0) }
    }
}

// EntryFile.swift — what was counted of mail that came in, and who is parked, kept over restarts: `limits.in` in the data
// directory, and `limits.people` for different recipients, as numbers that say nothing of them.
//
// Text, a line for each, replaced whole: within a second while it changes (recipients: five), and before anybody is told that a
// login is parked by hand. A line that does not say what it should is left out.

package import Files
package import Mail

/// Where it is.
package struct EntryFile: Sendable {
    private static let largest = 64 << 20
    private static let (finished, bounced) = ("finished", "bounced")
    /// Milliseconds.
    private static let windows: ClosedRange<Int64> = 1000...31 * 86_400_000
    private let path: String
    private let peoplePath: String
    private let disk: any Disk

    /// - Parameter directory: the data directory.
    package init(in directory: String, _ disk: any Disk) {
        path = "\(directory)/limits.in"
        peoplePath = "\(directory)/limits.people"
        self.disk = disk
    }

    /// Fills a book with what an earlier process knew.
    ///
    /// Blocks.
    package func load(into book: inout EntryBook, at now: Timestamp) {
        guard let bytes = try? disk.contents(of: path, limit: Self.largest) else { return }
        for line in bytes.split(octet: "\n") {
            let words = line.split(octet: " ", omittingEmpty: false).map { String(decoding: $0, as: UTF8.self) }
            if words.count >= 7, words[0].isSame(octets: "used") {
                Self.account(words, now).map { book.restore($0, $1) }
            } else if words.count == 6, words[0].isSame(octets: "parked") {
                Self.parking(words).map { book.park($0, $1) }
            }
        }
        loadPeople(into: &book, at: now)
    }

    private func loadPeople(into book: inout EntryBook, at now: Timestamp) {
        guard let bytes = try? disk.contents(of: peoplePath, limit: Self.largest) else { return }
        var isSalted = false
        for line in bytes.split(octet: "\n") {
            let words = line.split(octet: " ", omittingEmpty: false).map { String(decoding: $0, as: UTF8.self) }
            if words.count == 2, words[0].isSame(octets: "salt"), let salt = UInt64(words[1], radix: 16) {
                book.restore(salt: salt)
                isSalted = true
            } else if words.count == 7, words[0].isSame(octets: "people"), isSalted {
                guard let name = PercentEncoding.decoded(words[2]), let scope = EntryScope(words[1], name),
                    let window = Int64(words[3]), Self.windows.contains(window), let level = Int(words[4]),
                    let newest = Int64(words[5]), let kept = Base64.decode(Array(words[6].utf8))
                else { continue }
                let count = DistinctCount(kept, level: level, newest: newest, window: window, at: now)
                book.restore(scope, count, window: window)
            }
        }
    }

    /// Writes down who wrote to how many.
    ///
    /// Blocks.
    package func savePeople(_ book: EntryBook) throws(DiskError) {
        var text = "salt \(String(book.salt, radix: 16))\n"
        for (scope, account) in book.accounts {
            for (window, count) in account.people where count.kept > 0 {
                text += "people \(scope.word) \(PercentEncoding.encoded(scope.name)) \(window) \(count.level)"
                text += " \(count.storedAt) \(Base64.encode(count.stored))\n"
            }
        }
        try disk.replace(peoplePath, with: Array(text.utf8))
    }

    /// Writes it down.
    ///
    /// Blocks.
    package func save(_ book: EntryBook) throws(DiskError) {
        var text = ""
        for (login, parking) in book.parked {
            let words = [login, parking.actor, parking.reason].map { PercentEncoding.encoded($0) }
            text += "parked \(parking.since.milliseconds) \(Self.time(parking.until)) \(words.joined(separator: " "))\n"
        }
        for (scope, account) in book.accounts {
            let address = account.address.map { "\($0)" } ?? "-"
            text +=
                "used \(scope.word) \(PercentEncoding.encoded(scope.name)) \(account.seenAt.milliseconds) \(address)"
            text += " \(account.surplus) \(Self.time(account.toldAt))"
            for (key, count) in account.counts {
                let counts = count.counts.map(String.init).joined(separator: ",")
                text += " \(key.measure.rawValue):\(key.window):\(count.newest):\(counts)"
            }
            for (window, share) in account.shares {
                for (word, count) in [(Self.finished, share.finished), (Self.bounced, share.bounced)] {
                    let counts = count.counts.map(String.init).joined(separator: ",")
                    text += " \(word):\(window):\(count.newest):\(counts)"
                }
            }
            text += "\n"
        }
        try disk.replace(path, with: Array(text.utf8))
    }

    private static func time(_ time: Timestamp?) -> String { time.map { "\($0.milliseconds)" } ?? "-" }

    private static func time(_ word: String) -> Timestamp? { Int64(word).map { Timestamp(milliseconds: $0).clamped } }

    private static func account(_ words: [String], _ now: Timestamp) -> (EntryScope, EntryBook.Account)? {
        guard let name = PercentEncoding.decoded(words[2]), let scope = EntryScope(words[1], name),
            let seen = time(words[3]), let surplus = Int(words[5])
        else { return nil }
        var account = EntryBook.Account(seenAt: min(seen, now))
        account.address = IPAddress(words[4])
        account.surplus = max(0, surplus)
        account.toldAt = time(words[6])
        var shares: [String: [Int64: WindowCount]] = [:]
        for word in words.dropFirst(7).prefix(64) {
            let parts = word.split(octet: ":", omittingEmpty: false).map { String($0) }
            guard parts.count == 4, let window = Int64(parts[1]), windows.contains(window),
                let newest = Int64(parts[2])
            else { continue }
            var count = WindowCount(parts[3].split(octet: ",").compactMap { Int($0) }, newest: newest, window: window)
            count.clamp(to: now)
            if let measure = EntryMeasure(rawValue: parts[0]) {
                account.counts[EntryBook.Key(measure: measure, window: window)] = count
            } else {
                shares[parts[0], default: [:]][window] = count
            }
        }
        for (window, all) in shares[finished] ?? [:] {
            account.shares[window] = ShareCount(
                finished: all,
                bounced: shares[bounced]?[window] ?? WindowCount(window: window)
            )
        }
        return (scope, account)
    }

    private static func parking(_ words: [String]) -> (String, Parking)? {
        guard let since = time(words[1]), let login = PercentEncoding.decoded(words[3]),
            let actor = PercentEncoding.decoded(words[4]), let reason = PercentEncoding.decoded(words[5])
        else { return nil }
        return (login, Parking(since: since, until: time(words[2]), reason: reason, actor: actor))
    }
}

// EntryFile.swift — what was counted of mail that came in, and who is parked, kept over restarts: `limits.in` in the data
// directory.
//
// Text, a line for each, replaced whole: within a second while it changes, and before anybody is told that a login is parked by
// hand. A line that does not say what it should is left out.

package import Files
package import Mail

/// Where it is.
package struct EntryFile: Sendable {
    private static let largest = 64 << 20
    private let path: String
    private let disk: any Disk

    /// - Parameter directory: the data directory.
    package init(in directory: String, _ disk: any Disk) {
        path = "\(directory)/limits.in"
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
        for word in words.dropFirst(7).prefix(64) {
            let parts = word.split(octet: ":", omittingEmpty: false).map { String($0) }
            guard parts.count == 4, let measure = EntryMeasure(rawValue: parts[0]), let window = Int64(parts[1]),
                (1000...31 * 86_400_000).contains(window), let newest = Int64(parts[2])
            else { continue }
            var count = WindowCount(parts[3].split(octet: ",").compactMap { Int($0) }, newest: newest, window: window)
            count.clamp(to: now)
            account.counts[EntryBook.Key(measure: measure, window: window)] = count
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

// Drop+Emptying.swift — the relay fetches what lies in the drop.
//
// Guarantees: a message is removed when the relay has answered for it, so that only a crash between these two delivers it
// twice. What others put there is from outside: only plain files with one name, of a bounded size and of our form, are read,
// and nothing that stands in them is trusted. What nobody takes is set aside, as much as is worth a look; what is no message
// at all goes after an hour. Names come in no order that anybody could choose.

package import Files
import Glibc
package import Mail

extension Drop {
    /// Names that are looked at in one round.
    private static let most = 1000
    /// Names beyond which nobody may put more there, until half of them are gone.
    private static let mostWaiting = 10_000
    /// Milliseconds after which an incomplete file will not become complete, and what is none of ours is in the way.
    private static let patience: Int64 = 3_600_000
    /// What is kept of that which nobody takes: messages, and bytes.
    private static let (mostAside, mostBytesAside) = (1000, 256 << 20)

    /// A message that the relay refused, for whoever handed it in.
    package struct Refusal: Sendable {
        package let sender: EmailAddress
        package let recipients: [(address: EmailAddress, reply: Reply)]
        package let bytes: [UInt8]
    }

    /// What became of one round.
    package struct Found: Sendable {
        /// Messages that the relay has taken.
        package var taken = 0
        /// Messages that it will be asked to take again.
        package var left = 0
        /// What nobody takes, by the path where it is now, and why; and whether it is still there.
        package var refused: [(path: String, reason: String, isKept: Bool)] = []
        /// More was there than one round looks at.
        package var hasMore = false
        /// Names that were there.
        package var total = 0

        package init() {}
    }

    /// Whether mail may be put there, by how much lies there.
    ///
    /// - Parameter wasOpen: whether it may now.
    package static func isOpen(with total: Int, _ wasOpen: Bool) -> Bool {
        total < (wasOpen ? mostWaiting : mostWaiting / 2)
    }

    /// Hands everything in that is there, one after another.
    ///
    /// Blocks.
    /// - Parameters:
    ///   - limit: the largest message, bytes.
    ///   - now: milliseconds since 1970.
    ///   - goesOn: false ends the round before the next message.
    ///   - report: tells the sender of a message what was refused; true when that is on disk.
    package func empty(
        into place: SubmissionPlace,
        limit: Int,
        now: Int64,
        while goesOn: () -> Bool,
        report: (Refusal) -> Bool = { _ in false }
    ) throws(DiskError) -> Found {
        var found = Found()
        var names: [String] = []
        for entry in try disk.list(directory) {
            found.total += 1
            if entry.kind == .file, Self.isName(entry.name) {
                names.append(entry.name)
            } else {
                removeStranger(entry.name, now: now)
            }
        }
        // Whoever puts much there gets a share of each round, and not all of it.
        names.shuffle()
        for name in names.prefix(Self.most) where goesOn() {
            switch read("\(directory)/\(name)", limit: limit, now: now) {
            case .letter(let letter): hand(letter, of: name, to: place, &found, report)
            case .unfinished: found.left += 1
            case .bad(let reason): setAside(name, reason, &found)
            }
        }
        found.hasMore = names.count > Self.most
        return found
    }

    /// Pipes, links and other files that nobody of ours has made.
    private func removeStranger(_ name: String, now: Int64) {
        let path = "\(directory)/\(name)"
        guard let status = try? disk.status(path, following: false), status.kind != .directory,
            now - status.modified / 1_000_000 >= Self.patience
        else { return }
        try? disk.unlink(path)
    }

    private enum Reading {
        case letter(Letter)
        case unfinished
        case bad(String)
    }

    private func read(_ path: String, limit: Int, now: Int64) -> Reading {
        let bytes: [UInt8]
        let modified: Int64
        do throws(DiskError) {
            let file = try disk.open(path, .read, permissions: 0)
            let status = try file.status()
            guard status.kind == .file else { return .bad("is no plain file") }
            // Somebody else's file under a second name: what the relay may read is not theirs to send.
            guard status.links == 1 else { return .bad("has other names") }
            let most = limit + DropFile.mostBesides
            guard status.size <= most else { return .bad("is larger than a message may be") }
            (bytes, modified) = (try file.read(status.size, at: 0), status.modified / 1_000_000)
        } catch {
            return error.code == ENOENT ? .unfinished : .bad("\(error)")
        }
        switch DropFile.letter(bytes) {
        case .whole(let letter): return .letter(letter)
        case .partial: return now - modified < Self.patience ? .unfinished : .bad("is not complete")
        case .malformed: return .bad("is no message of sendmail's")
        }
    }

    private func hand(
        _ letter: Letter,
        of name: String,
        to place: SubmissionPlace,
        _ found: inout Found,
        _ report: (Refusal) -> Bool
    ) {
        let round: Round
        do {
            round = try Submission(place).hand(letter)
        } catch {
            found.left += 1
            return
        }
        let isOver = round.trouble.map { $0.status != EX_TEMPFAIL } ?? true
        let later =
            (isOver ? [] : round.unsent) + round.refused.filter { $0.reply.starts(withOctets: "4") }.map(\.address)
        let refused = round.refused.filter { !$0.reply.starts(withOctets: "4") }
        if later.count == letter.to.count { return found.left += 1 }
        // Who is left gets a file of their own, before that of all is gone.
        if !later.isEmpty {
            guard (try? keep(Letter(from: letter.from, to: later, bytes: letter.bytes), isOwn: true)) != nil else {
                return found.left += 1
            }
            found.left += 1
        }
        guard refused.isEmpty, round.trouble == nil || !isOver else {
            let reasons = refused.map { "\($0.address): \($0.reply)" } + (round.trouble.map { ["\($0)"] } ?? [])
            if round.taken > 0 { found.taken += 1 }
            let refusal = Self.refusal(of: letter, refused, isOver ? round.unsent : [], round.trouble)
            return setAside(name, reasons.joined(separator: "; "), &found) { refusal.map(report) ?? false }
        }
        if round.taken > 0 { found.taken += 1 }
        try? disk.unlink("\(directory)/\(name)")
    }

    /// What its sender is to hear; nil where there is nobody to hear it.
    private static func refusal(
        of letter: Letter,
        _ refused: [(address: EmailAddress, reply: String)],
        _ unsent: [EmailAddress],
        _ trouble: OperatorError?
    ) -> Refusal? {
        guard case .address(let sender) = letter.from else { return nil }
        let words = trouble.map { "\($0)" } ?? "not taken"
        let unknown = Reply(line: words) ?? Reply(554, EnhancedStatus(5, 0, 0), words)
        let recipients =
            refused.map { (address: $0.address, reply: Reply(line: $0.reply) ?? unknown) }
            + unsent.map { (address: $0, reply: unknown) }
        return recipients.isEmpty ? nil : Refusal(sender: sender, recipients: recipients, bytes: letter.bytes)
    }

    /// Nothing is lost: its sender hears of it, or an administrator can look at it.
    private func setAside(
        _ name: String,
        _ reason: String,
        _ found: inout Found,
        isReported: () -> Bool = { false }
    ) {
        try? disk.makeDirectory(aside, permissions: 0o700)
        let path = "\(aside)/\(name)"
        guard (try? disk.rename("\(directory)/\(name)", to: path)) != nil else { return }
        let isKept = !isReported() && hasRoomAside()
        if !isKept { try? disk.unlink(path) }
        found.refused.append((path, reason, isKept))
    }

    private func hasRoomAside() -> Bool {
        guard let entries = try? disk.list(aside), entries.count <= Self.mostAside else { return false }
        var bytes = 0
        for entry in entries {
            let size = (try? disk.status("\(aside)/\(entry.name)", following: false))?.size ?? 0
            let (sum, overflows) = bytes.addingReportingOverflow(size)
            guard !overflows, sum <= Self.mostBytesAside else { return false }
            bytes = sum
        }
        return true
    }
}

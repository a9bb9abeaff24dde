// Drop.swift — where `sendmail` leaves mail while there is no relay, and where the relay finds it.
//
// It is `drop` in the data directory, of the relay's user and with mode 1733: everybody may put a file there, nobody but the
// relay can see what is there, and nobody can take away what is not theirs. The relay's user is not the user who sends, so the
// files are readable by whoever knows their names, which are 128 random bits that nobody else is told.
//
// Guarantees: a message is on the disk before `sendmail` says 0; it goes in by the relay's own SMTP, as it would have from
// `sendmail`, so who may relay and what is refused is one rule; it is removed when the relay has answered for it, so that
// only a crash between these two delivers it twice. What others put there is from outside: only plain files with one name,
// of a bounded size and of our form, are read, and nothing that stands in them is trusted.

import Config
package import Files
import Glibc
import Mail

/// The drop of one relay.
package struct Drop: Sendable {
    /// The directory's name in the data directory, and that of what nobody takes.
    private static let (name, asideName) = ("drop", "drop-refused")
    /// Who may do what: put things in, and nothing else.
    private static let permissions: UInt32 = 0o1733
    /// Names that are looked at in one round.
    private static let most = 1000
    /// Milliseconds after which an incomplete file will not become complete.
    private static let patience: Int64 = 3_600_000

    private let directory: String
    private let aside: String
    private let disk: any Disk

    /// - Parameter data: the data directory.
    package init(in data: String, _ disk: any Disk = LinuxDisk()) {
        (directory, aside) = ("\(data)/\(Self.name)", "\(data)/\(Self.asideName)")
        self.disk = disk
    }

    /// That of the relay on this machine; nil when nobody can tell which that is, or it will take no mail by SMTP.
    static func ofThisMachine() -> Drop? {
        guard let here = try? LocalRelay(data: nil), here.relay.submission != nil else { return nil }
        return Drop(in: here.data)
    }

    /// Makes the directory; for the relay.
    ///
    /// - Throws: when it cannot be made, or is something else.
    package func prepare() throws(DiskError) {
        try disk.makeDirectory(directory, permissions: 0o700)
        let open = try disk.open(directory, .read, permissions: 0)
        var status = try open.status()
        guard status.kind == .directory else { throw DiskError("open", directory, ENOTDIR) }
        status.permissions = Self.permissions
        try open.takeOwnership(of: status)
    }

    /// Keeps a message until the relay fetches it; for anybody.
    ///
    /// - Throws: when it is not on the disk; then there is nothing left of it.
    func keep(_ letter: Letter) throws(DiskError) {
        let path = "\(directory)/\(Self.freshName())"
        let file = try disk.open(path, .create, permissions: 0o644)
        do throws(DiskError) {
            // Whatever the umask says: the relay is another user.
            var status = try file.status()
            status.permissions = 0o644
            try file.takeOwnership(of: status)
            try file.write(DropFile.octets(of: letter), at: 0)
            try file.sync()
        } catch {
            try? disk.unlink(path)
            throw error
        }
        // Who may not read a directory cannot sync it either; the file's own sync writes its name where it is new.
        try? disk.syncDirectory(directory)
    }

    private static func freshName() -> String {
        var generator = SystemRandomNumberGenerator()
        return "m" + (0..<2).map { _ in hexadecimal(UInt64.random(in: 0 ... .max, using: &generator)) }.joined()
    }

    private static func hexadecimal(_ number: UInt64) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }

    private static func isName(_ name: String) -> Bool {
        name.utf8.count == 33 && name.utf8.first == UInt8(ascii: "m")
            && name.utf8.dropFirst().allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    // MARK: - For the relay

    /// What became of one round.
    package struct Found: Sendable {
        /// Messages that the relay has taken.
        package var taken = 0
        /// Messages that it will be asked to take again.
        package var left = 0
        /// What nobody takes, by the path where it is now, and why.
        package var refused: [(path: String, reason: String)] = []
        /// More was there than one round looks at.
        package var hasMore = false

        package init() {}
    }

    /// Hands everything in that is there, one after another.
    ///
    /// Blocks.
    /// - Parameters:
    ///   - limit: the largest message, bytes.
    ///   - now: milliseconds since 1970.
    ///   - goesOn: false ends the round before the next message.
    package func empty(
        into place: SubmissionPlace,
        limit: Int,
        now: Int64,
        while goesOn: () -> Bool
    ) throws(DiskError) -> Found {
        var found = Found()
        let names = try disk.list(directory).lazy.filter { $0.kind == .file && Self.isName($0.name) }
        for entry in names.prefix(Self.most) where goesOn() {
            let path = "\(directory)/\(entry.name)"
            switch read(path, limit: limit, now: now) {
            case .letter(let letter): hand(letter, of: entry.name, to: place, &found)
            case .unfinished: found.left += 1
            case .bad(let reason): setAside(entry.name, reason, &found)
            }
        }
        found.hasMore = names.dropFirst(Self.most).first != nil
        return found
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

    private func hand(_ letter: Letter, of name: String, to place: SubmissionPlace, _ found: inout Found) {
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
            guard (try? keep(Letter(from: letter.from, to: later, bytes: letter.bytes))) != nil else {
                return found.left += 1
            }
            found.left += 1
        }
        guard refused.isEmpty, round.trouble == nil || !isOver else {
            let reasons = refused.map { "\($0.address): \($0.reply)" } + (round.trouble.map { ["\($0)"] } ?? [])
            if round.taken > 0 { found.taken += 1 }
            return setAside(name, reasons.joined(separator: "; "), &found)
        }
        if round.taken > 0 { found.taken += 1 }
        try? disk.unlink("\(directory)/\(name)")
    }

    /// Nothing is lost: an administrator can look at it.
    private func setAside(_ name: String, _ reason: String, _ found: inout Found) {
        try? disk.makeDirectory(aside, permissions: 0o700)
        let path = "\(aside)/\(name)"
        guard (try? disk.rename("\(directory)/\(name)", to: path)) != nil else { return }
        found.refused.append((path, reason))
    }
}

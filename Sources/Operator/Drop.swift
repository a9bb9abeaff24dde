// Drop.swift — where `sendmail` leaves mail while there is no relay, and where the relay finds it.
//
// It is `drop` in the data directory, of the relay's user and with mode 1733: everybody may put a file there, nobody but the
// relay can see what is there, and nobody can take away what is not theirs. The relay's user is not the user who sends, so the
// files are readable by whoever knows their names, which are 128 random bits that nobody else is told.
//
// Guarantees: a message is on the disk before `sendmail` says 0; it goes in by the relay's own SMTP, as it would have from
// `sendmail`, so who may relay and what is refused is one rule (`Drop+Emptying.swift`). It is shut where `smtp.ini` says so, while
// too much lies in it, and for a message that would leave the disk too little.

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
    /// What the relay sees to itself.
    private static let shut: UInt32 = 0o700
    /// Bytes that a message must leave on the disk, for the relay's own mail.
    private static let reserve = 64 << 20

    let directory: String
    let aside: String
    let disk: any Disk

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

    /// Makes the directory, or lets nobody in any more; for the relay.
    ///
    /// - Throws: when it cannot be made, or is something else.
    package func prepare(isOpen: Bool = true) throws(DiskError) {
        if !isOpen, try disk.status(directory, following: false) == nil { return }
        try disk.makeDirectory(directory, permissions: Self.shut)
        let open = try disk.open(directory, .read, permissions: 0)
        var status = try open.status()
        guard status.kind == .directory else { throw DiskError("open", directory, ENOTDIR) }
        status.permissions = isOpen ? Self.permissions : Self.shut
        try open.takeOwnership(of: status)
    }

    /// Whether mail may be put there, whoever asks: the relay's own user and root could do it all the same.
    private func checkIsOpen(for size: Int) throws(DiskError) {
        guard let status = try disk.status(directory, following: false), status.kind == .directory,
            status.permissions & 0o002 != 0
        else { throw DiskError("open", directory, EACCES) }
        guard try disk.space(at: directory).freeBytes - size >= Self.reserve else {
            throw DiskError("write", directory, ENOSPC)
        }
    }

    /// Keeps a message until the relay fetches it; for anybody.
    ///
    /// - Parameter isOwn: the relay puts back what is left of a message that lay there, whatever else lies there.
    /// - Throws: when it is not on the disk; then there is nothing left of it.
    func keep(_ letter: Letter, isOwn: Bool = false) throws(DiskError) {
        let path = "\(directory)/\(Self.freshName())"
        let octets = DropFile.octets(of: letter)
        if !isOwn { try checkIsOpen(for: octets.count) }
        let file = try disk.open(path, .create, permissions: 0o644)
        do throws(DiskError) {
            // Whatever the umask says: the relay is another user.
            var status = try file.status()
            status.permissions = 0o644
            try file.takeOwnership(of: status)
            try file.write(octets, at: 0)
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

    static func isName(_ name: String) -> Bool {
        name.utf8.count == 33 && name.utf8.first == UInt8(ascii: "m")
            && name.utf8.dropFirst().allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }
}

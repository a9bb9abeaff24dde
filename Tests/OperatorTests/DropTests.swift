// DropTests.swift — what `sendmail` keeps while there is no relay: its form, and what else may lie there.

import Files
import Glibc
import Mail
import Testing

@testable import Operator

struct DropTests {
    /// A data directory of its own.
    private struct Place {
        let data = "/tmp/martlet-drop-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        let disk = LinuxDisk()
        let drop: Drop

        init() {
            drop = Drop(in: data)
            #expect(mkdir(data, 0o755) == 0)
        }

        func remove() {
            for entry in (try? disk.list("\(data)/drop")) ?? [] { try? disk.unlink("\(data)/drop/\(entry.name)") }
            rmdir("\(data)/drop")
            rmdir(data)
        }
    }

    /// Where nobody answers.
    private static let nobody = SubmissionPlace(address: "127.0.0.1", port: 1, hostName: "x.example")

    private static func letter(_ text: String, from: String = "a@x.example", to: String...) throws -> Letter {
        let sender = from.isEmpty ? ReversePath.null : .address(try #require(EmailAddress(from)))
        return Letter(from: sender, to: try to.map { try #require(EmailAddress($0)) }, bytes: Array(text.utf8))
    }

    private static func read(_ bytes: [UInt8]) -> String {
        switch DropFile.letter(bytes) {
        case .whole(let letter):
            "\(letter.from) > \(letter.to.map(\.description)): \(String(decoding: letter.bytes, as: UTF8.self))"
        case .partial: "partial"
        case .malformed: "malformed"
        }
    }

    @Test func readsWhatItWrites() throws {
        for letter in [
            try Self.letter("Subject: x\r\n\r\n\n\ny\r\n", to: "b@x.example", "\"a b\"@x.example"),
            try Self.letter("", from: "", to: "\u{E9}@x.example"),
        ] {
            let bytes = DropFile.octets(of: letter)
            guard case .whole(let read) = DropFile.letter(bytes) else { return #expect(Bool(false)) }
            #expect(read == letter)
            // Whatever part of it was written, it is not taken for the whole.
            for count in 0..<bytes.count {
                if case .partial = DropFile.letter(Array(bytes[..<count])) { continue }
                Issue.record("\(count) of \(bytes.count) octets are \(Self.read(Array(bytes[..<count])))")
            }
            #expect(Self.read(bytes + [10]) == "malformed")
        }
    }

    @Test(arguments: [
        "martlet drop 2\n1\n\n", "martlet drop 1\n-1\n", "martlet drop 1\nx\n",
        "martlet drop 1\n99999999999999999999\n",
        "martlet drop 1\n6\na@b\n\nx", "martlet drop 1\n4\na b\n", "martlet drop 1\n8\na@b\nc d\n", "\u{0}",
        "martlet drop 1\n9\na@b\n\u{FF}\n\nx", "root:x:0:0:root:/root:/bin/bash\n",
        "martlet drop 1\n15\na@b\nc@d\rRCPT:\n\n",
    ])
    func takesNothingElseForAMessage(text: String) { #expect(Self.read(Array(text.utf8)) == "malformed") }

    @Test func keepsWhereNobodyCanLook() throws {
        let place = Place()
        defer { place.remove() }
        let (data, disk, drop) = (place.data, place.disk, place.drop)
        let letter = try Self.letter("x\r\n", to: "b@x.example")
        #expect(throws: DiskError.self) { try drop.keep(letter) }
        try drop.prepare()
        try drop.prepare()
        #expect(try disk.status("\(data)/drop", following: false)?.permissions == 0o1733)
        let mask = umask(0o077)
        defer { umask(mask) }
        try drop.keep(letter)
        let names = try disk.list("\(data)/drop").map(\.name)
        #expect(names.count == 1 && names[0].utf8.count == 33)
        #expect(try disk.status("\(data)/drop/\(names[0])", following: false)?.permissions == 0o644)
        // Nobody answers there: it stays.
        let found = try drop.empty(into: Self.nobody, limit: 1000, now: 0) { true }
        #expect(found.left == 1 && found.taken == 0 && found.refused.isEmpty)
        #expect(try disk.list("\(data)/drop").map(\.name) == names)
    }

    /// A user who fills it stops `sendmail` from keeping mail, and not the relay.
    @Test func isShutWhileTooMuchLiesInIt() {
        #expect(Drop.isOpen(with: 9999, true) && !Drop.isOpen(with: 10_000, true))
        #expect(!Drop.isOpen(with: 5000, false) && Drop.isOpen(with: 4999, false))
    }

    /// Shut, it takes nothing from anybody, root included; the relay puts back what is its own.
    @Test func aShutDropTakesNothing() throws {
        let place = Place()
        defer { place.remove() }
        let (data, disk, drop) = (place.data, place.disk, place.drop)
        try drop.prepare(isOpen: false)
        #expect(try disk.status("\(data)/drop", following: false) == nil, "none is made to be shut")
        try drop.prepare()
        try drop.prepare(isOpen: false)
        let letter = try Self.letter("x\r\n", to: "b@x.example")
        #expect(throws: DiskError.self) { try drop.keep(letter) }
        try drop.keep(letter, isOwn: true)
        #expect(try disk.list("\(data)/drop").count == 1)
    }

    /// What is no message of ours goes after an hour, and before that it is in nobody's way.
    @Test func strangersGoAfterAnHour() throws {
        let place = Place()
        defer { place.remove() }
        let (data, disk, drop) = (place.data, place.disk, place.drop)
        try drop.prepare()
        #expect(mkfifo("\(data)/drop/m\(String(repeating: "0", count: 32))", 0o666) == 0)
        #expect(symlink("/etc/passwd", "\(data)/drop/m\(String(repeating: "1", count: 32))") == 0)
        let now = Timestamp.now().milliseconds
        var found = try drop.empty(into: Self.nobody, limit: 1000, now: now) { true }
        #expect(found.total == 2 && found.left == 0 && found.refused.isEmpty)
        #expect(try disk.list("\(data)/drop").count == 2)
        found = try drop.empty(into: Self.nobody, limit: 1000, now: now + 3_700_000) { true }
        #expect(found.total == 2)
        #expect(try disk.list("\(data)/drop").isEmpty)
    }
}

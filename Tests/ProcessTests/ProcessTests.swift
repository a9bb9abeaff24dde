// ProcessTests.swift — what the process is given and what it shows: variables, title, notices, sockets, accounts.

import Glibc
import Testing

@testable import Process

struct ProcessTests {
    // MARK: - The environment

    @Test func variablesAreBytesAndTheFirstOfANameCounts() {
        let found = ProcessEnvironment.variables(
            ["A=1", "A=2", "B=x=y", "C=", "nonsense", "=D", "\u{212A}EY=no"].map { Array($0.utf8) } + [
                [0x45, 0x3D, 0xFF]
            ]
        )
        #expect(found["A"] == Array("1".utf8))
        #expect(found["B"] == Array("x=y".utf8))
        #expect(found["C"] == [])
        #expect(found["E"] == [0xFF])
        // A Kelvin sign is no K, although Swift takes them for equal.
        #expect(found["KEY"] == nil)
        #expect(found.count == 5)
    }

    @Test func theEnvironmentOfThisProcessIsThere() { #expect(ProcessEnvironment.all()["PATH"] != nil) }

    // MARK: - Title

    @Test(arguments: [(40, "martlet 1/2/3"), (8, "martle"), (2, "")])
    func titleEndsWithinTheCommandLine(room: Int, shown: String) {
        let area = UnsafeMutableBufferPointer<CChar>.allocate(capacity: room)
        defer { area.deallocate() }
        area.initialize(repeating: 65)
        var name = ""
        ProcessTitle(area: area) { name = $0 }.show(inProgress: 1, waiting: 2, tempFailed: 3)
        #expect(Array(area.prefix(shown.utf8.count)) == shown.utf8.map { CChar(bitPattern: $0) })
        #expect(area[shown.utf8.count] == 0)
        #expect(area.last == 0x2E)
        #expect(name == "martlet 1/2/3")
    }

    @Test func aLongTitleLeavesTheProgramOutOfTheShortName() {
        let area = UnsafeMutableBufferPointer<CChar>.allocate(capacity: 0)
        defer { area.deallocate() }
        var names: [String] = []
        let title = ProcessTitle(area: area) { names.append($0) }
        title.show(inProgress: 100, waiting: 20_000, tempFailed: 3)
        title.show(inProgress: 100, waiting: 20_000, tempFailed: 3)
        #expect(names == ["100/20000/3"])
    }

    // MARK: - Notices

    @Test func aNoticeIsOneAssignmentALine() {
        #expect(ServiceNotice.ready.text == "READY=1")
        #expect(ServiceNotice.stopping.text == "STOPPING=1")
        #expect(ServiceNotice.alive(status: "a\nMAINPID=1").text == "WATCHDOG=1\nSTATUS=a MAINPID=1")
    }

    @Test(arguments: [false, true])
    func aNoticeArrives(isAbstract: Bool) throws {
        let path = (isAbstract ? "@" : "/tmp/") + "martlet-notice-\(getpid())-\(isAbstract)"
        let receiver = try Receiver(path)
        ServiceNotice.ready.send(to: Array(path.utf8))
        #expect(receiver.next() == "READY=1")
        // What is no socket's path is passed over.
        ServiceNotice.ready.send(to: Array("relative".utf8))
        ServiceNotice.ready.send(to: Array(repeating: UInt8(ascii: "/"), count: 200))
    }

    // MARK: - Sockets of a service manager

    @Test(
        arguments: [
            ("LISTEN_FDS=2 LISTEN_PID=7 LISTEN_FDNAMES=smtp:smtps", ["smtp", "smtps"]),
            ("LISTEN_FDS=3 LISTEN_PID=7 LISTEN_FDNAMES=:smtps", ["", "smtps", ""]),
            ("LISTEN_FDS=1 LISTEN_PID=7", [""]),
            ("LISTEN_FDS=1 LISTEN_PID=8", nil),
            ("LISTEN_FDS=1", nil),
            ("LISTEN_FDS=0 LISTEN_PID=7", nil),
            ("LISTEN_FDS=-1 LISTEN_PID=7", nil),
            ("LISTEN_FDS=x LISTEN_PID=7", nil),
            ("LISTEN_PID=7", nil),
        ] as [(String, [String]?)]
    )
    func claimsWhatIsMeantForIt(variables: String, names: [String]?) throws {
        let entries = variables.split(separator: " ").map { Array($0.utf8) }
        #expect(try HeldSockets.Claim(ProcessEnvironment.variables(entries), process: 7)?.names == names)
    }

    @Test func refusesMoreSocketsThanAnybodyHandsOver() {
        let variables = ["LISTEN_FDS": Array("257".utf8), "LISTEN_PID": Array("7".utf8)]
        #expect(throws: ProcessFailure.self) { try HeldSockets.Claim(variables, process: 7) }
    }

    @Test(arguments: [[127, 0, 0, 1], Array(repeating: 0, count: 15) + [1]] as [[UInt8]])
    func bindsAndKnowsWhere(octets: [UInt8]) throws {
        let sockets = try HeldSockets.bound(plain: [SocketPlace(octets: octets, port: 0)], implicitTLS: [])
        let held = try #require(sockets.held.first)
        defer { close(held.descriptor) }
        #expect(held.place.octets == octets)
        #expect(held.place.port != 0)
        #expect(!held.isTLS)
        try #require(listen(held.descriptor, 1) == 0)
        let error = try #require(throws: ProcessFailure.self) {
            _ = try HeldSockets.bound(plain: [], implicitTLS: [held.place])
        }
        #expect(error.description.contains("\(held.place)"))
    }

    @Test func aPlaceIsShownAsItIsWritten() {
        #expect("\(SocketPlace(octets: [192, 0, 2, 1], port: 25))" == "192.0.2.1:25")
        let six: [UInt8] = [0x20, 0x01, 0x0D, 0xB8] + Array(repeating: 0, count: 11) + [0x25]
        #expect("\(SocketPlace(octets: six, port: 587))" == "[2001:db8::25]:587")
    }

    @Test func whatIsNoSocketHasNoPlace() { #expect(SocketPlace(of: -1) == nil) }

    // MARK: - Accounts

    @Test(
        arguments: [
            (0, "root", "root"), (0, "other", "root"), (42, "shadow", "hashes"), (6, "disk", "disks"),
            (7, "docker", "container engine"), (99, "keepers", "/etc/shadow"),
        ] as [(gid_t, String, String)]
    )
    func privilegedGroupsAreRefusedWithTheReason(group: gid_t, name: String, word: String) throws {
        let reason = PrivilegedGroup.reason(group, name) { $0 == 99 ? "/etc/shadow" : nil }
        #expect(try #require(reason).contains(word))
    }

    @Test func ordinaryGroupsAreTaken() { #expect(PrivilegedGroup.reason(1000, "martlet") { _ in nil } == nil) }

    @Test(
        arguments: [("root", nil), ("nobody", "root"), ("nobody", "shadow"), ("no-such-user", nil)]
            as [(String, String?)]
    )
    func anAccountThatIsNoneOrTooMuchIsRefused(user: String, group: String?) {
        #expect(throws: ProcessFailure.self) {
            _ = try Account(AccountName(user: user, group: group, mayBeShown: true))
        }
    }

    @Test func whatMayBeSomebodyElsesContentIsNotRepeated() throws {
        for name in [
            AccountName(user: "s3cret", group: nil, mayBeShown: false),
            AccountName(user: "nobody", group: "s3cret", mayBeShown: false),
        ] {
            let error = try #require(throws: ProcessFailure.self) { _ = try Account(name) }
            #expect(!error.description.contains("s3cret"))
            #expect(error.description.contains("[main]"))
        }
    }
}

/// A datagram socket that listens for notices.
private final class Receiver {
    private let descriptor: Int32
    private let path: String

    init(_ path: String) throws {
        self.path = path
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(path.utf8)
        if bytes[0] == UInt8(ascii: "@") { bytes[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let length = socklen_t(MemoryLayout.offset(of: \sockaddr_un.sun_path).map { $0 + bytes.count } ?? 0)
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
        }
        try #require(result == 0)
    }

    deinit {
        close(descriptor)
        unlink(path)
    }

    func next() -> String {
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }
}

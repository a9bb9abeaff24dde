// MilterSettingsTests.swift — `milters.ini`: sockets in every spelling, whose mail a milter sees, and what is no milter.

import Mail
import Testing

@testable import Config

@Suite struct MilterSettingsTests {
    private func read(_ text: String) throws -> [MilterSettings] {
        try MilterSettings.read(INIDocument(parsing: text))
    }

    @Test(arguments: [
        ("inet:127.0.0.1:8891", "inet:127.0.0.1:8891"), ("inet:[::1]:8891", "inet:[::1]:8891"),
        ("inet6:::1:8891", "inet:[::1]:8891"), ("inet:8891@127.0.0.1", "inet:127.0.0.1:8891"),
        ("inet:filter.example:25", "inet:filter.example:25"), ("unix:/run/a.sock", "unix:/run/a.sock"),
        ("local:/run/a.sock", "unix:/run/a.sock"),
    ])
    func knowsSockets(_ text: String, _ shown: String) throws {
        let milters = try read("[a]\nsocket = \(text)\n")
        #expect(milters.map(\.place.description) == [shown])
    }

    @Test(arguments: [
        "socket = here", "socket = inet:127.0.0.1", "socket = inet:127.0.0.1:0", "socket = inet:127.0.0.1:65536",
        "socket = unix:run/a", "socket = inet::25", "default = pass", "ways = http", "ways =", "senders = a@b@c",
        "clients = x", "deadline = 0", "connect_timeout = soon", "sockets = unix:/a",
    ])
    func refusesWhatItDoesNotKnow(_ line: String) throws {
        let error = try #require(throws: ConfigErrors.self) { try read("[a]\nsocket = unix:/a\n[b]\n\(line)\n") }
        #expect(error.errors.contains { $0.line == 4 }, "\(error.errors)")
    }

    @Test func keepsTheOrderAndRefusesTwins() throws {
        #expect(try read("[b]\nsocket=unix:/b\n[a]\nsocket=unix:/a\n").map(\.name) == ["b", "a"])
        for text in [
            "[a]\nsocket=unix:/a\n[a]\nsocket=unix:/a\n", "[a b]\nsocket=unix:/a\n", "[a]\n", "socket=unix:/a\n",
        ] {
            #expect(throws: ConfigErrors.self, "\(text)") { try read(text) }
        }
    }

    @Test func seesOnlyTheMailThatItIsFor() throws {
        let text =
            "[a]\nsocket=unix:/a\nways=smtp, api\nclients=10.0.0.0/8, 127.0.0.1:25\nexcept=10.9.0.0/16\n"
            + "senders=*.example, <>\nrecipients=b@y.test\n"
        let milter = try #require(try read(text).first)
        func sees(
            _ from: String?,
            _ to: [String],
            _ way: MilterSettings.Way,
            client: String? = nil,
            port: UInt16 = 2525
        ) -> Bool {
            let envelope = Envelope(
                sender: from.flatMap { EmailAddress($0) }.map { .address($0) } ?? .null,
                recipients: to.compactMap { EmailAddress($0) }.map { Recipient($0) }
            )
            let here = IPAddress("127.0.0.1").map { ListenAddress(ip: $0, port: port) }
            let from = client.map { (IPAddress($0), here, [here].compactMap(\.self)) }
            return milter.concerns(envelope, by: way, from: from)
        }
        let good = ["a@y.test", "B@y.test"]
        #expect(sees("a@x.example", good, .smtp, client: "10.1.1.1"))
        #expect(sees(nil, good, .smtp, client: "192.0.2.1", port: 25))
        #expect(!sees(nil, good, .smtp, client: "192.0.2.1"))
        #expect(!sees(nil, good, .smtp, client: "10.9.1.1", port: 25))
        #expect(!sees(nil, good, .smtps, client: "10.1.1.1"))
        #expect(!sees("a@example", good, .smtp, client: "10.1.1.1"))
        #expect(!sees("a@x.example", ["a@y.test"], .smtp, client: "10.1.1.1"))
        #expect(sees("a@x.example", good, .api))
    }
}

// RecordParsingTests.swift — rdata, good and hostile.

import Mail
import TestSupport
import Testing

@testable import DNS

@Suite struct RecordParsingTests {
    /// A name in wire form.
    private static func wire(_ labels: [[UInt8]]) -> [UInt8] {
        labels.flatMap { [UInt8(truncatingIfNeeded: $0.count)] + $0 } + [0]
    }

    private static func wire(_ name: String) -> [UInt8] { wire(name.split(separator: ".").map { Array($0.utf8) }) }

    @Test func readsMX() throws {
        let record = try #require(RecordParsing.mx([0x01, 0x02] + Self.wire("Mail.Example.ORG")))
        #expect(record == MXRecord(preference: 258, host: Domain("mail.example.org")))
        #expect(RecordParsing.mx([0, 0, 0]) == MXRecord(preference: 0, host: nil))
        // A slice whose indices do not begin at 0.
        #expect(
            RecordParsing.mx(([9, 9, 9, 0, 5] + Self.wire("a.b"))[3...]) == MXRecord(preference: 5, host: Domain("a.b"))
        )
    }

    @Test func readsAddresses() {
        #expect(RecordParsing.a([192, 0, 2, 1])?.description == "192.0.2.1")
        let six = [0x20, 1, 0xD, 0xB8] + [UInt8](repeating: 0, count: 11) + [1]
        #expect(RecordParsing.aaaa(six)?.description == "2001:db8::1")
        #expect(RecordParsing.a([]) == nil)
        #expect(RecordParsing.a([1, 2, 3]) == nil)
        #expect(RecordParsing.a([UInt8](repeating: 1, count: 16)) == nil)
        #expect(RecordParsing.aaaa([1, 2, 3, 4]) == nil)
        #expect(RecordParsing.aaaa([UInt8](repeating: 1, count: 17)) == nil)
    }

    @Test(arguments: [
        "a\r\nRCPT TO:<x@y>", "a\0b", "a b", "a\u{7F}", "a\tb", "é", "a<b", "-a", "a-", "[192", "a@b", "a;b", "a\"b",
    ])
    func refusesLabelsThatAreNoHostNames(label: String) {
        #expect(RecordParsing.name(Self.wire([Array(label.utf8), Array("example".utf8)])) == .invalid)
    }

    @Test func refusesADotInsideALabel() {
        #expect(RecordParsing.name(Self.wire([Array("a.b".utf8), Array("example".utf8)])) == .invalid)
    }

    @Test(
        arguments: [
            [], [1], [1, 0x61], [5, 0x61, 0x62, 0], [0xC0, 0x0C], [1, 0x61, 0xC0, 0], [0, 0], [1, 0x61, 0, 0],
            [64] + [UInt8](repeating: 0x61, count: 64) + [0],
        ] as [[UInt8]]
    )
    func refusesBrokenNames(data: [UInt8]) {
        #expect(RecordParsing.name(data) == .invalid)
    }

    @Test func refusesNamesThatAreTooLong() {
        let label = [UInt8](repeating: 0x61, count: 63)
        #expect(RecordParsing.name(Self.wire([label, label, label])) != .invalid)
        #expect(RecordParsing.name(Self.wire([label, label, label, label])) == .invalid)
    }

    /// Whatever comes, nothing traps, and what is taken for a host is one.
    @Test func survivesGarbage() {
        var generator = SeededRandom(seed: 5)
        var hosts = 0
        for round in 0..<20_000 {
            var data = (0..<Int.random(in: 0...60, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            // Half of them begin well and are damaged.
            if round % 2 == 0 {
                data = [0, 10] + Self.wire("mx\(round).example.net")
                for _ in 0..<Int.random(in: 0...2, using: &generator) {
                    data[Int.random(in: 0..<data.count, using: &generator)] = UInt8.random(
                        in: 0...255,
                        using: &generator
                    )
                }
                data.removeLast(Int.random(in: 0...1, using: &generator))
            }
            _ = RecordParsing.a(data)
            _ = RecordParsing.aaaa(data)
            guard let host = RecordParsing.mx(data)?.host else { continue }
            hosts += 1
            #expect(host.name.utf8.allSatisfy { (0x21...0x7E).contains($0) })
            #expect(Domain(host.name) == host)
        }
        #expect(hosts > 100)
    }
}

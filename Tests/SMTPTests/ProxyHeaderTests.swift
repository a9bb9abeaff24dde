// ProxyHeaderTests.swift — PROXY headers of both versions: what they tell, what is refused, and whatever else comes.

import Mail
import NIOCore
import TestSupport
import Testing

@testable import SMTP

struct ProxyHeaderTests {
    private static let signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]

    private static func binary(_ verb: UInt8, _ family: UInt8, _ rest: [UInt8], length: Int? = nil) -> [UInt8] {
        let count = length ?? rest.count
        return signature + [verb, family, UInt8(count >> 8 & 0xFF), UInt8(count & 0xFF)] + rest
    }

    private static let four: [UInt8] = [192, 0, 2, 1, 127, 0, 0, 1, 0x10, 0xE1, 0, 25]
    private static let six: [UInt8] =
        [0x20, 1, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [1] + [UInt8](repeating: 0, count: 15) + [
            1, 0x10, 0xE1, 0, 25,
        ]

    /// What all of it, and each of its beginnings, comes to.
    private func take(_ octets: [UInt8], then rest: String = "EHLO c\r\n") throws -> ProxyHeader? {
        for count in 0..<octets.count {
            var piece = ByteBuffer(bytes: octets.prefix(count))
            #expect(try ProxyHeader.take(&piece) == nil, "\(count) of \(octets.count)")
            #expect(piece.readableBytes == count)
        }
        var whole = ByteBuffer(bytes: octets + Array(rest.utf8))
        let header = try ProxyHeader.take(&whole)
        #expect(String(buffer: whole) == rest)
        return header
    }

    @Test func readsWhatBalancersSay() throws {
        let v4 = ProxyHeader.client(try #require(IPAddress("192.0.2.1")), port: 4321)
        let v6 = ProxyHeader.client(try #require(IPAddress("2001:db8::1")), port: 4321)
        #expect(try take(Array("PROXY TCP4 192.0.2.1 127.0.0.1 4321 25\r\n".utf8)) == v4)
        #expect(try take(Array("PROXY TCP6 2001:db8::1 ::1 4321 25\r\n".utf8)) == v6)
        #expect(try take(Array("PROXY UNKNOWN\r\n".utf8)) == .unknown)
        #expect(try take(Array("PROXY UNKNOWN ffff:f:f 1 2 3\r\n".utf8)) == .unknown)
        #expect(try take(Self.binary(0x21, 0x11, Self.four)) == v4)
        #expect(try take(Self.binary(0x21, 0x21, Self.six)) == v6)
        #expect(try take(Self.binary(0x21, 0x11, Self.four + [0x04, 0, 2, 0xFF, 0xFF, 0x03, 0, 0])) == v4)
        #expect(try take(Self.binary(0x21, 0x00, [])) == .unknown)
        #expect(try take(Self.binary(0x21, 0x31, [UInt8](repeating: 0, count: 216))) == .unknown)
        // Whatever stands in a health check.
        #expect(try take(Self.binary(0x20, 0x00, [])) == .itself)
        #expect(try take(Self.binary(0x20, 0x11, [1, 2, 3])) == .itself)
    }

    @Test(arguments: [
        "EHLO c\r\n", "PROXY\r\n", "PROXX TCP4", "proxy TCP4 192.0.2.1 127.0.0.1 4321 25\r\n",
        "PROXY TCP4 192.0.2.1 127.0.0.1 4321\r\n", "PROXY TCP4 192.0.2.1 127.0.0.1 4321 25 26\r\n",
        "PROXY TCP4  192.0.2.1 127.0.0.1 4321 25\r\n", "PROXY TCP4 ::1 ::1 4321 25\r\n",
        "PROXY TCP6 192.0.2.1 127.0.0.1 4321 25\r\n", "PROXY TCP4 192.0.2.1 127.0.0.1 65536 25\r\n",
        "PROXY TCP4 192.0.2.1 127.0.0.1 4321 -1\r\n", "PROXY TCP4 192.0.2.1 127.0.0.1 4321 25\n",
        "PROXY UDP4 192.0.2.1 127.0.0.1 4321 25\r\n", "PROXY TCP4 192.0.2.01 x 1 2\r\n", "PROXY UNKNOWN\u{1}\r\n",
    ])
    func refusesLinesThatAreNone(_ text: String) {
        var input = ByteBuffer(string: text)
        #expect(throws: ProxyHeader.Fault.self) { try ProxyHeader.take(&input) }
    }

    @Test func refusesWhatIsTooLongOrLies() {
        let wrong: [[UInt8]] = [
            Array(("PROXY UNKNOWN " + String(repeating: "x", count: 120)).utf8),
            Self.binary(0x22, 0x11, Self.four), Self.binary(0x11, 0x11, Self.four), Self.binary(0x21, 0x12, Self.four),
            Self.binary(0x21, 0x11, Array(Self.four.prefix(11))), Self.binary(0x21, 0x21, Self.four),
            Self.binary(0x21, 0x11, Self.four + [0x04, 0, 9, 0xFF]), Self.binary(0x21, 0x11, Self.four + [0x04]),
            Self.binary(0x21, 0x31, [1, 2, 3]), Self.binary(0x21, 0x11, Self.four, length: 5000),
            Self.signature.dropLast() + [0x0B],
        ]
        for octets in wrong {
            var input = ByteBuffer(bytes: octets)
            #expect(throws: ProxyHeader.Fault.self, "\(octets.prefix(20))") { try ProxyHeader.take(&input) }
        }
    }

    /// It never traps, pieces make no difference, and it never waits for more than its bound.
    @Test(arguments: UInt64(1)...5)
    func holdsWhateverIsSent(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let seeds = [
            Self.binary(0x21, 0x11, Self.four + [0x20, 0, 3, 1, 2, 3]), Self.binary(0x20, 0, []),
            Array("PROXY TCP4 192.0.2.1 127.0.0.1 4321 25\r\n".utf8), Array("PROXY UNKNOWN\r\n".utf8),
        ]
        for _ in 0..<Effort.count(300) {
            var octets = seeds.randomElement(using: &random) ?? []
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                octets[Int.random(in: 0..<octets.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if Bool.random(using: &random) {
                octets = Array(octets.prefix(Int.random(in: 0...octets.count, using: &random)))
            }
            let whole = Self.outcome(octets, step: octets.count)
            #expect(whole == Self.outcome(octets, step: 1), "\(octets)")
            if whole == "waits" {
                let padded = octets + [UInt8](repeating: 0x20, count: 5000)
                #expect(Self.outcome(padded, step: 5000) != "waits")
            }
        }
    }

    private static func outcome(_ octets: [UInt8], step: Int) -> String {
        var input = ByteBuffer()
        for octet in octets {
            input.writeInteger(octet)
            guard step == 1 else { continue }
            do { if let header = try ProxyHeader.take(&input) { return "\(header)" } } catch { return "refused" }
        }
        do { return try ProxyHeader.take(&input).map { "\($0)" } ?? "waits" } catch { return "refused" }
    }
}

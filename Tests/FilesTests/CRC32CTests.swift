// CRC32CTests.swift — known values (RFC 3720 §B.4), and both ways of computing them against each other.

import TestSupport
import Testing

@testable import Files

@Suite struct CRC32CTests {
    static let known: [(bytes: [UInt8], value: UInt32)] = [
        ([UInt8](repeating: 0, count: 32), 0x8A91_36AA),
        ([UInt8](repeating: 0xFF, count: 32), 0x62A8_AB43),
        (Array(0...31), 0x46DD_794E),
        (Array((0...31).reversed()), 0x113F_DB5C),
        (Array("123456789".utf8), 0xE306_9283),
        ([], 0),
    ]

    @Test(arguments: known)
    func givesTheKnownValues(bytes: [UInt8], expected: UInt32) {
        bytes.withUnsafeBytes { raw in
            #expect(CRC32C.of(raw) == expected)
            #expect(~CRC32C.slow(~0, raw) == expected)
        }
    }

    @Test func givesTheSameInPartsAsInOne() {
        var random = SeededRandom(seed: 1)
        for _ in 0..<300 {
            let bytes = (0..<Int.random(in: 0...200, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            let cut = Int.random(in: 0...bytes.count, using: &random)
            var parts = CRC32C()
            parts.update(Array(bytes[..<cut]))
            var resumed = CRC32C(continuing: parts.value)
            parts.update(Array(bytes[cut...]))
            resumed.update(Array(bytes[cut...]))
            bytes.withUnsafeBytes { raw in
                #expect(parts.value == CRC32C.of(raw))
                #expect(resumed == parts)
                #expect(~CRC32C.slow(~0, raw) == parts.value)
            }
        }
    }
}

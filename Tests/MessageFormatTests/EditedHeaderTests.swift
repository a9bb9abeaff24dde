// EditedHeaderTests.swift — fields added, changed and taken away: what nobody named stays, and nothing ends the header.

import NIOCore
import TestSupport
import Testing

@testable import MessageFormat

@Suite struct EditedHeaderTests {
    private static let text = "From ann Sun Nov 22\r\nA: 1\r\nb : two\r\n three\r\nA:3\r\n"

    private func edited(_ change: (inout EditedHeader) -> Void) -> String {
        var header = EditedHeader(Array(Self.text.utf8))
        change(&header)
        #expect(header.size == header.octets.count)
        return String(decoding: header.octets, as: UTF8.self)
    }

    @Test func leavesWhatNobodyNamed() {
        #expect(edited { _ in } == Self.text)
        #expect(EditedHeader([]).octets.isEmpty)
        let fields = EditedHeader(Array(Self.text.utf8)).fields.map {
            "\(String(decoding: $0.name, as: UTF8.self))|\(String(decoding: $0.value, as: UTF8.self))"
        }
        #expect(fields == ["A| 1", "b| two\r\n three", "A|3"])
    }

    @Test func countsAmongThoseOfOneName() {
        func value(_ text: String) -> [UInt8] { Array(text.utf8) }
        #expect(edited { $0.change(value("a"), at: 2, to: value(" x")) } == Self.text.replacing("A:3", with: "a: x"))
        #expect(
            edited { $0.change(value("B"), at: 0, to: nil) } == Self.text.replacing("b : two\r\n three\r\n", with: "")
        )
        #expect(edited { $0.change(value("A"), at: 3, to: nil) } == Self.text)
        #expect(edited { $0.change(value("A"), at: 9, to: value(" new")) } == Self.text + "A: new\r\n")
        // Those that are gone do not count any more.
        let gone = edited { header in
            header.change(value("A"), at: 1, to: nil)
            header.change(value("A"), at: 1, to: nil)
        }
        #expect(gone == "From ann Sun Nov 22\r\nb : two\r\n three\r\n")
        #expect(
            edited { $0.insert(value("N"), value(" 0"), behind: 0) }
                == Self.text.replacing("A: 1", with: "N: 0\r\nA: 1")
        )
        #expect(
            edited { $0.insert(value("N"), value(" 2"), behind: 2) } == Self.text.replacing("A:3", with: "N: 2\r\nA:3")
        )
        #expect(edited { $0.insert(value("N"), value(" 9"), behind: 9) } == Self.text + "N: 9\r\n")
    }

    @Test(arguments: [
        (" a\n b", " a\r\n b"), (" a\r\n\tb", " a\r\n\tb"), (" a\nInjected: b", " a\r\n\tInjected: b"),
        (" a\n\nbody", " a\r\n\tbody"), (" a\r\n \r\n.\r\n", " a\r\n\t."), (" a\rb\0c", " abc"), ("", ""), ("\n\n", ""),
    ])
    func noValueEndsTheHeader(_ value: String, _ written: String) {
        #expect(edited { $0.add(Array("N".utf8), Array(value.utf8)) } == Self.text + "N:\(written)\r\n")
    }

    /// Whatever the values, it stays one header with as many fields as there should be.
    @Test(arguments: UInt64(1)...3)
    func staysAHeader(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let pieces = ["a", " ", "\t", "\r", "\n", "\r\n", "\r\n\r\n", ":", "X: y", ".", "\0", "ü"]
        for _ in 0..<Effort.count(300) {
            var header = EditedHeader(Array("A: 1\r\n".utf8))
            let count = Int.random(in: 1...5, using: &random)
            for _ in 0..<count {
                let value = (0..<Int.random(in: 0...8, using: &random)).map { _ in
                    pieces.randomElement(using: &random) ?? ""
                }
                header.insert(
                    Array("N".utf8),
                    Array(value.joined().utf8),
                    behind: Int.random(in: 0...4, using: &random)
                )
            }
            let octets = header.octets
            var block = HeaderBlock(limit: .max)
            block.consume(ByteBuffer(bytes: octets + Array("\r\nbody\r\n".utf8)), from: 0)
            #expect(block.size == octets.count && block.end == .emptyLine)
            #expect(HeaderFields(octets).fields.count == count + 1)
        }
    }
}

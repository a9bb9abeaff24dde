// LineEndsTests.swift — what becomes of the line ends of programs, and what is refused.

import NIOCore
import Testing

@testable import MessageFormat

struct LineEndsTests {
    @Test(arguments: [
        ("", ""), ("a", "a\r\n"), ("a\n", "a\r\n"), ("a\r\n", "a\r\n"), ("\n", "\r\n"), ("\r\n", "\r\n"),
        ("a\nb\r\nc", "a\r\nb\r\nc\r\n"), ("a\n\nb\n", "a\r\n\r\nb\r\n"), ("a\n\r\n", "a\r\n\r\n"),
        ("\u{FEFF}a\u{301}\n", "\u{FEFF}a\u{301}\r\n"),
        ("a\u{85}b\u{2028}c\u{B}d\u{C}e\n", "a\u{85}b\u{2028}c\u{B}d\u{C}e\r\n"),
    ])
    func linesEndInCRLF(text: String, expected: String) throws {
        #expect(Array(try LineEnds.crlf(Array(text.utf8)).readableBytesView) == Array(expected.utf8))
    }

    @Test(arguments: [
        ("x\r\r\n", LineEnds.Fault.bareCR(line: 1)), ("a\r", .bareCR(line: 1)), ("a\n\rb\n", .bareCR(line: 2)),
        ("a\r\n\r", .bareCR(line: 2)), ("\r", .bareCR(line: 1)), ("a\rb", .bareCR(line: 1)), ("\0", .nul(line: 1)),
        ("a\r\nb\nc\0d", .nul(line: 3)),
    ])
    func whatSMTPRefusesIsRefused(text: String, fault: LineEnds.Fault) {
        #expect(throws: fault) { try LineEnds.crlf(Array(text.utf8)) }
    }

    @Test func linesMayBeLong() throws {
        let line = [UInt8](repeating: 0x61, count: 100_000)
        #expect(try LineEnds.crlf(line).readableBytes == 100_002)
    }

    @Test func octetsAboveASCIIStay() throws {
        let all = (UInt8(1)...255).filter { $0 != 0x0D && $0 != 0x0A }
        #expect(Array(try LineEnds.crlf(all).readableBytesView) == all + [0x0D, 0x0A])
        #expect(LineEnds.mended(all) == all)
    }

    @Test(arguments: [
        ("", ""), ("a\n", "a\n"), ("10%\r20%\rdone\n", "10%\n20%\ndone\n"), ("a\r\n", "a\n"), ("a\r\r\nb", "a\nb"),
        ("a\r\rb", "a\n\nb"), ("a\r", "a\n"), ("a\0b\0", "a?b?"), ("\r\n\r\n", "\n\n"), ("\0\r", "?\n"),
    ])
    func mendsWhatProgramsWrite(text: String, expected: String) throws {
        let mended = LineEnds.mended(Array(text.utf8))
        #expect(mended == Array(expected.utf8))
        _ = try LineEnds.crlf(mended)
    }
}

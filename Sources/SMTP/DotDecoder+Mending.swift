// DotDecoder+Mending.swift — content of a lenient session: LF alone ends a line, and becomes CRLF.
//
// Why nobody can smuggle through it (CVE-2023-51764 and its kin): smuggling needs somebody who writes a message and another
// who carries it, and who disagree with us about where it ends. Where the carrier ended its DATA command with CRLF, only
// CRLF.CRLF ends the message: LF.LF, LF.CRLF and CRLF.LF in it are text, whatever the writer hoped. Where DATA itself ended
// in LF, whoever speaks to us speaks LF in its own commands, which the writer of a message has no hand in; its dots are
// doubled behind LF, and LF.LF is how it ends a message. What is kept has CRLF at every line's end, and each line that
// begins with a dot is known as such, so that it is doubled where the message goes on.

import NIOCore

/// What ends a line of content behind DATA.
package enum LineEndRule: Hashable, Sendable {
    /// CRLF; anything else is refused.
    case strict
    /// CRLF; LF alone becomes CRLF in the text, and takes no part in transparency or the end of the message.
    case mended
    /// CRLF or LF, in everything.
    case either
}

extension DotDecoder {
    /// Consumes octets up to the end of the message; returns how many.
    mutating func mend(
        _ bytes: UnsafePointer<UInt8>,
        _ count: Int,
        into output: inout ByteBuffer,
        ended: inout Bool
    ) -> Int {
        var index = 0
        var runStart = 0
        while index < count {
            let byte = bytes[index]
            switch state {
            case .lineStart where byte == 0x2E:
                keep(bytes, runStart..<index, in: &output)
                index += 1
                runStart = index
                state = .dot
            case .dot where byte == 0x0D:
                index += 1
                runStart = index
                state = .dotCR
            case .dot where byte == 0x0A && lineEnds == .either, .dotCR where byte == 0x0A:
                isMended = isMended || byte == 0x0A && state == .dot
                ended = true
                return index + 1
            case .cr where byte == 0x0A:
                index += 1
                state = .lineStart
            case .cr, .dotCR:
                scan.noteBare()
                state = .text
            default:
                if byte == 0x2E, state == .dot || state == .softStart { hasLeadingDots = true }
                guard byte == 0x0A else {
                    index = passText(bytes, from: index, to: count)
                    continue
                }
                keep(bytes, runStart..<index, in: &output)
                keepLineEnd(in: &output)
                isMended = true
                index += 1
                runStart = index
                state = lineEnds == .either ? .lineStart : .softStart
            }
        }
        keep(bytes, runStart..<count, in: &output)
        return count
    }

    /// Goes over text to the next LF, or behind the next CR.
    private mutating func passText(_ bytes: UnsafePointer<UInt8>, from start: Int, to count: Int) -> Int {
        var index = start
        state = .text
        while index < count {
            let byte = bytes[index]
            if byte == 0x0A { return index }
            scan.note(byte)
            index += 1
            guard byte != 0x0D else {
                state = .cr
                return index
            }
        }
        return index
    }
}

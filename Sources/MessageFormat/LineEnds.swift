// LineEnds.swift — what programs hand in becomes text with the line ends of SMTP: one rule for the API, `send_email()` and
// `sendmail`.
//
// By SMTP a line ends in CRLF and may be of any length; a CR or an LF alone and a NUL are refused. Programs write LF too, so
// here LF ends a line as CRLF does. The rest is as by SMTP: what would be refused there is refused here, and nothing is
// dropped or changed without a word.
// Source: RFC 5321 §2.3.8, RFC 5322 §2.3

package import NIOCore

/// Text from programs, with CRLF at the end of every line.
package enum LineEnds {
    /// What no message may hold.
    package enum Fault: Error, Hashable, CustomStringConvertible {
        /// A CR without an LF behind it, on this line, counted from 1.
        case bareCR(line: Int)
        /// A NUL, on this line, counted from 1.
        case nul(line: Int)

        /// A sentence without its subject: `holds a CR without LF (line 3)`.
        package var description: String {
            switch self {
            case .bareCR(let line): "holds a CR without LF (line \(line))"
            case .nul(let line): "holds a NUL (line \(line))"
            }
        }
    }

    private static let cr = UInt8(ascii: "\r")
    private static let lf = UInt8(ascii: "\n")

    /// The text with CRLF for every LF and CRLF, and at its end.
    ///
    /// - Throws: ``Fault`` for the first line that no message may hold.
    package static func crlf(_ text: [UInt8]) throws(Fault) -> ByteBuffer {
        var out = ByteBuffer()
        // All of it at once: callers have reserved memory for that and no more.
        out.reserveCapacity(text.count + text.count { $0 == lf } + 2)
        var start = text.startIndex
        var number = 1
        while start < text.endIndex {
            let feed = text[start...].firstIndex(of: lf)
            var line = text[start..<(feed ?? text.endIndex)]
            if feed != nil, line.last == cr { line = line.dropLast() }
            if line.contains(cr) { throw .bareCR(line: number) }
            if line.contains(0) { throw .nul(line: number) }
            out.writeBytes(line)
            out.writeStaticString("\r\n")
            start = feed.map { $0 + 1 } ?? text.endIndex
            number += 1
        }
        return out
    }

    /// The text of a program that nobody can tell to write it otherwise, such as cron's jobs: made legal.
    ///
    /// A CR alone, as progress bars write it, ends a line; CRs in front of an LF end one line with it; a NUL becomes a
    /// question mark. The result has LF at its line ends and is fit for ``crlf(_:)``.
    package static func mended(_ text: [UInt8]) -> [UInt8] {
        guard text.contains(where: { $0 == cr || $0 == 0 }) else { return text }
        var out: [UInt8] = []
        out.reserveCapacity(text.count)
        // CRs that are not yet known to stand in front of an LF.
        var pending = 0
        for byte in text {
            switch byte {
            case cr: pending += 1
            case lf:
                pending = 0
                out.append(lf)
            default:
                out.append(contentsOf: repeatElement(lf, count: pending))
                pending = 0
                out.append(byte == 0 ? UInt8(ascii: "?") : byte)
            }
        }
        return out + repeatElement(lf, count: pending)
    }
}

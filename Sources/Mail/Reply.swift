// Reply.swift — what one side of SMTP says to the other, and how we write down our own failures.

/// What a reply's first digit means (RFC 5321 §4.2.1).
package enum Severity: UInt8, Hashable, Sendable {
    case success = 2
    case intermediate = 3
    case temporary = 4
    case permanent = 5
}

/// An SMTP reply: received from a peer, or made up for a local failure so that both look alike.
///
/// Lines hold neither code nor line ends. Text of a received reply is printable: control characters were replaced and
/// the length cut when it was parsed, so it may stand in logs and reports as it is.
package struct Reply: Hashable, Sendable, CustomStringConvertible {
    /// 200…599.
    package let code: UInt16
    package let status: EnhancedStatus?
    package let lines: [String]

    package init(_ code: UInt16, _ status: EnhancedStatus?, lines: [String]) {
        self.code = code
        self.status = status
        self.lines = lines
    }

    package init(_ code: UInt16, _ status: EnhancedStatus?, _ text: String) {
        self.init(code, status, lines: [text])
    }

    /// From the first digit of `code` and nothing else.
    package var severity: Severity {
        switch code / 100 {
        case 2: .success
        case 3: .intermediate
        case 4: .temporary
        default: .permanent
        }
    }

    /// `550 5.1.1 no such user`, several lines joined by a space.
    package var description: String {
        // It stands in each line of the log: measured first and written in one go.
        let expected = lines.reduce(24) { $0 &+ $1.utf8.count &+ 1 }
        return String(unsafeUninitializedCapacity: expected) { room in
            var text = OctetWriter(UnsafeMutableRawBufferPointer(room))
            write(to: &text)
            return min(text.count, room.count)
        }
    }

    private func write(to text: inout OctetWriter) {
        text.put(decimal: UInt(code))
        if let status {
            text.put(UInt8(ascii: " "))
            status.write(to: &text)
        }
        if lines.allSatisfy(\.isEmpty), lines.count <= 1 { return }
        for line in lines {
            text.put(UInt8(ascii: " "))
            text.put(line)
        }
    }

    /// The status to report: the peer's, or `x.0.0` of the severity.
    package var reportedStatus: EnhancedStatus { givenStatus ?? EnhancedStatus(severity.rawValue, 0, 0) }

    /// The peer's enhanced status wherever it stands: in front of the text, or behind a `#` as Cisco (`452 #4.5.3 Too many`)
    /// and qmail (`452 sorry, too many (#4.5.3)`) write it.
    package var givenStatus: EnhancedStatus? {
        if let status { return status }
        for line in lines {
            var rest = line.utf8[...]
            while let mark = rest.firstIndex(of: UInt8(ascii: "#")) {
                rest = rest[rest.index(after: mark)...]
                if let found = EnhancedStatus(leading: rest) { return found.with(class: severity.rawValue) }
            }
        }
        return nil
    }
}

extension Reply {
    /// Takes one line apart as people write it down, such as `550 5.1.1 no such user`, whatever stands between code and text.
    ///
    /// - Returns: nil when it does not begin with a code from 200 to 599.
    package init?(line: some StringProtocol) {
        let octets = line.trimmed.utf8
        let digits = octets.prefix { $0 &- UInt8(ascii: "0") <= 9 }
        guard digits.count == 3, let code = UInt16(Substring(digits)), (200...599).contains(code) else { return nil }
        func isGap(_ octet: UInt8) -> Bool { octet == 0x20 || octet == 0x2D || octet == 0x3A || octet == 0x09 }
        var rest = octets[digits.endIndex...]
        guard rest.first.map(isGap) ?? true else { return nil }
        rest = rest.drop(while: isGap)
        let status = EnhancedStatus(leading: rest)
        if status != nil { rest = rest.drop { !isGap($0) }.drop(while: isGap) }
        self.init(code, status, String(Substring(rest)))
    }
}

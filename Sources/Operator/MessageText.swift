// MessageText.swift — a message as programs pipe it in: header lines looked at, line ends made those of SMTP.

/// A header block and a body, with CRLF line ends.
struct MessageText {
    private var header: [[UInt8]] = []
    private var body: [UInt8] = []

    /// - Parameter endsAtDot: a line with nothing but a dot ends the message, as it does on a terminal.
    init(_ input: [UInt8], endsAtDot: Bool) {
        var lines = input.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { line in
            line.last == UInt8(ascii: "\r") ? line.dropLast() : line
        }
        if lines.last?.isEmpty == true { lines.removeLast() }
        if lines.first.map({ $0.starts(with: "From ".utf8) }) == true { lines.removeFirst() }
        if endsAtDot, let dot = lines.firstIndex(where: { $0.elementsEqual(CollectionOfOne(UInt8(ascii: "."))) }) {
            lines = Array(lines[..<dot])
        }
        var index = 0
        while index < lines.count, Self.isHeader(lines[index], after: header.last != nil) {
            if lines[index].first.map({ $0 == 0x20 || $0 == 0x09 }) == true, !header.isEmpty {
                header[header.count - 1] += Array("\r\n".utf8) + lines[index]
            } else {
                header.append(Array(lines[index]))
            }
            index += 1
        }
        // Without an empty line the message has no header at all, or it ends here.
        if index < lines.count, lines[index].isEmpty { index += 1 }
        for line in lines[index...] { body += Array(line) + Array("\r\n".utf8) }
    }

    /// `Name: value`, or the continuation of one.
    private static func isHeader(_ line: ArraySlice<UInt8>, after hasOne: Bool) -> Bool {
        guard let first = line.first else { return false }
        if first == 0x20 || first == 0x09 { return hasOne }
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex else { return false }
        return line[..<colon].allSatisfy { $0 > 0x20 && $0 < 0x7F }
    }

    /// The values of a header, unfolded.
    func values(of name: String) -> [String] {
        header.compactMap { line in
            guard let value = Self.value(line, name) else { return nil }
            return String(decoding: value, as: UTF8.self).filter { $0 != "\r\n" && $0 != "\n" && $0 != "\r" }
        }
    }

    mutating func remove(_ name: String) { header.removeAll { Self.value($0, name) != nil } }

    mutating func add(_ name: String, _ value: String) { header.append(Array("\(name): \(value)".utf8)) }

    private static func value(_ line: [UInt8], _ name: String) -> ArraySlice<UInt8>? {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")),
            String(decoding: line[..<colon], as: UTF8.self).lowercased() == name
        else { return nil }
        return line[(colon + 1)...]
    }

    /// The whole message.
    var bytes: [UInt8] { header.flatMap { $0 + Array("\r\n".utf8) } + Array("\r\n".utf8) + body }
}

/// The addresses in a header or an argument (RFC 5322 §3.4): names, comments and groups are passed over.
enum AddressList {
    static func addresses(in text: String) -> [String] {
        var found: [String] = []
        var plain = ""
        var angle: String?
        var comment = 0
        var isQuoted = false
        var isEscaped = false
        func finish() {
            let word = (angle ?? plain).filter { !$0.isWhitespace }
            if !word.isEmpty { found.append(word) }
            plain = ""
            angle = nil
        }
        var isInside = false
        for character in text {
            let isTaken = comment == 0
            func keep() {
                guard isTaken else { return }
                if isInside { angle?.append(character) } else { plain.append(character) }
            }
            if isEscaped {
                isEscaped = false
                keep()
            } else if character == "\\" {
                isEscaped = true
                keep()
            } else if isQuoted {
                if character == "\"" { isQuoted = false }
                keep()
            } else {
                switch character {
                case "\"" where isTaken:
                    isQuoted = true
                    keep()
                case "(": comment += 1
                case ")" where comment > 0: comment -= 1
                case _ where comment > 0: break
                case "<":
                    isInside = true
                    angle = ""
                case ">": isInside = false
                case "," where !isInside, ";" where !isInside: finish()
                // `Group: a, b;` names a group, and what follows are its members.
                case ":" where !isInside: plain = ""
                default: keep()
                }
            }
        }
        finish()
        return found
    }
}

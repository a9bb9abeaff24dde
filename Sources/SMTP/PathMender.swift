// PathMender.swift — MAIL and RCPT as old clients and scripts write them, put right and parsed again.
//
// It is asked only about lines that were refused, and makes another line of them, which has to pass ``CommandParser`` like
// any other: what is right means the same with it and without it, and nothing wrong gets in by it.

import Mail

/// Puts paths right.
struct PathMender {
    /// Completes addresses without a domain.
    private let local: LocalMail
    /// Brackets and dots are put right too.
    private let mendsSyntax: Bool

    init(_ local: LocalMail, mendsSyntax: Bool) {
        self.local = local
        self.mendsSyntax = mendsSyntax
    }

    /// The command that a refused line was meant to be.
    ///
    /// - Returns: nil when nobody could tell.
    func parse(
        _ line: UnsafeRawBufferPointer,
        by parser: CommandParser,
        allowsUTF8: Bool
    ) -> (command: Command, did: Mending)? {
        var line = Text(line)
        line.trimEnd()
        guard line.kind() != .hasControl, let mended = mended(line) else { return nil }
        let command = mended.line.withUnsafeBytes { parser.parse($0, allowsUTF8: allowsUTF8) }
        if case .refused = command { return nil }
        return (command, mended.did)
    }

    private func mended(_ line: Text) -> (line: [UInt8], did: Mending)? {
        var rest = line
        let verb = rest.nextWord()
        let (isMail, isRecipient) = (verb.equals("MAIL"), verb.equals("RCPT"))
        rest.trimStart()
        guard isMail && rest.begins(with: "FROM") || isRecipient && rest.begins(with: "TO") else { return nil }
        rest = rest.dropping(isMail ? 4 : 2)
        var did = Mending()
        if rest.first != UInt8(ascii: ":") { did = .brackets }
        rest = rest.trimmed
        if rest.first == UInt8(ascii: ":") { rest = rest.dropping(1).trimmed }
        guard let (path, parameters) = path(rest, &did), let address = address(path, &did), !did.isEmpty,
            mendsSyntax || did == .domain
        else { return nil }
        let words = (isMail ? "MAIL FROM:<" : "RCPT TO:<").utf8
        return (words + address + ">".utf8 + (parameters.isEmpty ? [] : [0x20] + parameters.octets), did)
    }

    /// What should stand in angle brackets, and what follows.
    private func path(_ rest: Text, _ did: inout Mending) -> (Text, Text)? {
        if rest.first == UInt8(ascii: "<"), let end = PathParser.closingBracket(rest) {
            let (inner, parameters) = (rest.range(1..<end), rest.dropping(end + 1))
            if inner.first == 0x20 || inner.count != inner.trimmed.count { did.insert(.brackets) }
            if !parameters.isEmpty, parameters.first != 0x20 { did.insert(.brackets) }
            return (inner.trimmed, parameters.trimmed)
        }
        did.insert(.brackets)
        // A name in front: `Ann <ann@example.org>`.
        if let start = rest.firstOffset(of: UInt8(ascii: "<")), start > 0,
            rest.prefix(start).firstOffset(of: UInt8(ascii: "@")) == nil
        {
            let tail = rest.dropping(start)
            guard let end = PathParser.closingBracket(tail) else { return nil }
            return (tail.range(1..<end).trimmed, tail.dropping(end + 1).trimmed)
        }
        var parameters = rest
        var word = parameters.nextWord()
        if word.first == UInt8(ascii: "<") { word = word.dropping(1) }
        if word.count > 0, word[word.count - 1] == UInt8(ascii: ">") { word = word.prefix(word.count - 1) }
        return word.isEmpty ? nil : (word, parameters.trimmed)
    }

    /// The address as it has to be written; empty for the null sender.
    private func address(_ path: Text, _ did: inout Mending) -> [UInt8]? {
        guard path.first != UInt8(ascii: "\""), path.first != UInt8(ascii: "@") else { return path.octets }
        if path.isEmpty { return [] }
        let at = path.lastOffset(of: UInt8(ascii: "@")) ?? path.count
        let name = path.prefix(at)
        var domain = path.dropping(at + 1).octets
        if domain.isEmpty {
            did.insert(.domain)
            domain = Array(local.me.name.utf8)
        }
        guard name.hasStrayDot, mendsSyntax else { return name.octets + "@".utf8 + domain }
        did.insert(.dots)
        return "\"".utf8 + name.octets + "\"@".utf8 + domain
    }
}

extension Text {
    fileprivate var octets: [UInt8] { (0..<count).map { self[$0] } }

    fileprivate func lastOffset(of byte: UInt8) -> Int? {
        (0..<count).last { self[$0] == byte }
    }

    /// Only letters of an atom and dots, of which one is at an edge or behind another.
    fileprivate var hasStrayDot: Bool {
        var previous = UInt8(ascii: ".")
        var isStray = false
        for offset in 0..<count {
            let byte = self[offset]
            guard byte == UInt8(ascii: ".") || byte >= 0x80 || PathParser.isAtomText(byte) else { return false }
            if byte == UInt8(ascii: "."), previous == byte { isStray = true }
            previous = byte
        }
        return count > 0 && (isStray || previous == UInt8(ascii: "."))
    }
}

// Octets.swift — text from outside, compared, split and searched as octets.
//
// Swift's own `hasPrefix`, `split`, `contains` and `==` work on Characters: a combining mark behind `@file:` hides the
// prefix from them, CR LF is one Character, and two spellings of é are equal. Who guards and who reads must see the same,
// and what is read are octets. `.ci/lint.sh` refuses the others in the rooms that read from outside.

extension Collection<UInt8> {
    /// The pieces between ASCII octets.
    ///
    /// - Parameter omittingEmpty: leaves out pieces without an octet.
    package func split(
        octet: Unicode.Scalar,
        maxSplits: Int = .max,
        omittingEmpty: Bool = true
    ) -> [SubSequence] {
        split(separator: UInt8(ascii: octet), maxSplits: maxSplits, omittingEmptySubsequences: omittingEmpty)
    }
}

extension StringProtocol {
    /// Whether the text begins with these octets.
    package func starts(withOctets prefix: some StringProtocol) -> Bool { utf8.starts(with: prefix.utf8) }

    /// Whether the text ends with these octets.
    package func ends(withOctets suffix: some StringProtocol) -> Bool {
        utf8.reversed().starts(with: suffix.utf8.reversed())
    }

    /// Whether both are the same octets; canonically equivalent text is not.
    package func isSame(octets other: some StringProtocol) -> Bool { utf8.elementsEqual(other.utf8) }

    /// What stands behind a prefix; nil when the text does not begin with it.
    ///
    /// - Parameter prefix: ASCII.
    package func rest(behind prefix: some StringProtocol) -> Substring? {
        guard starts(withOctets: prefix) else { return nil }
        return Substring(Substring(self).utf8.dropFirst(prefix.utf8.count))
    }

    /// What stands before a suffix; nil when the text does not end with it.
    ///
    /// - Parameter suffix: ASCII.
    package func rest(before suffix: some StringProtocol) -> Substring? {
        guard ends(withOctets: suffix) else { return nil }
        return Substring(Substring(self).utf8.dropLast(suffix.utf8.count))
    }

    /// The text without its first octets, which are ASCII.
    package func dropping(octets count: Int) -> Substring { Substring(Substring(self).utf8.dropFirst(count)) }

    /// Where an ASCII octet stands first.
    package func firstIndex(ofOctet octet: Unicode.Scalar) -> Index? { utf8.firstIndex(of: UInt8(ascii: octet)) }

    /// Where an ASCII octet stands last.
    package func lastIndex(ofOctet octet: Unicode.Scalar) -> Index? {
        Substring(self).utf8.lastIndex(of: UInt8(ascii: octet))
    }

    /// Whether an ASCII octet stands anywhere.
    package func contains(octet: Unicode.Scalar) -> Bool { utf8.contains(UInt8(ascii: octet)) }

    /// Whether these octets stand anywhere.
    package func contains(octets wanted: some StringProtocol) -> Bool {
        guard let first = wanted.utf8.first else { return true }
        var rest = Substring(self).utf8[...]
        while let start = rest.firstIndex(of: first) {
            rest = rest[start...]
            if rest.starts(with: wanted.utf8) { return true }
            rest = rest.dropFirst()
        }
        return false
    }

    /// The pieces between ASCII octets.
    ///
    /// - Parameter omittingEmpty: leaves out pieces without an octet.
    package func split(
        octet: Unicode.Scalar,
        maxSplits: Int = .max,
        omittingEmpty: Bool = true
    ) -> [Substring] {
        Substring(self).utf8.split(octet: octet, maxSplits: maxSplits, omittingEmpty: omittingEmpty)
            .map { Substring($0) }
    }

    /// The words between blanks and tabs.
    package var words: [Substring] {
        Substring(self).utf8.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }.map { Substring($0) }
    }

    /// The text without the blanks and tabs around it.
    package var trimmed: Substring {
        func isBlank(_ octet: UInt8) -> Bool { octet == UInt8(ascii: " ") || octet == UInt8(ascii: "\t") }
        var octets = Substring(self).utf8[...]
        octets = octets.drop(while: isBlank)
        while let last = octets.last, isBlank(last) { octets.removeLast() }
        return Substring(octets)
    }

    /// The text without the blanks and tabs before it.
    package var trimmedStart: Substring {
        Substring(Substring(self).utf8.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") })
    }

    /// The lines, without their ends and the empty ones; CR LF, LF and CR end a line.
    package var filledLines: [Substring] {
        Substring(self).utf8.split { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }.map { Substring($0) }
    }

    /// The text with the letters a to z in upper case, and every other octet as it is.
    package var uppercasedASCII: String {
        var octets = Array(utf8)
        for index in octets.indices where (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(octets[index]) {
            octets[index] &= 0xDF
        }
        return String(decoding: octets, as: UTF8.self)
    }

    /// The text with the letters A to Z in lower case, and every other octet as it is.
    package var lowercasedASCII: String {
        var octets = Array(utf8)
        for index in octets.indices where (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(octets[index]) {
            octets[index] |= 0x20
        }
        return String(decoding: octets, as: UTF8.self)
    }
}

extension String {
    /// So many octets at most, no letter cut in two.
    package func cut(octets limit: Int) -> String {
        guard utf8.count > limit else { return self }
        var end = utf8.index(startIndex, offsetBy: limit)
        while end > startIndex, end.samePosition(in: unicodeScalars) == nil { end = utf8.index(before: end) }
        return String(self[..<end])
    }
}

// SenderPolicyRecord.swift — the text of an SPF record, read (RFC 7208 §4.6, §5).

import Mail

/// A word of a record that makes no sense.
struct SenderPolicyError: Error, Hashable {
    let word: String
}

/// The terms of a record, in order.
struct SenderPolicyRecord {
    /// What is asked of an address.
    enum Mechanism: Hashable {
        case all
        case network(IPNetwork)
        case include(String)
        /// `a`, or `mx` where they are exchangers: of the domain itself when no other is named, with the lengths of the
        /// prefixes that count.
        case hosts(areExchangers: Bool, of: String?, v4: Int, v6: Int)
        /// `exists`, `ptr`, and what holds a macro.
        case unsupported
    }

    /// A mechanism, and what an address that it matches is.
    struct Term {
        let word: String
        let verdict: SenderPolicy.Verdict
        let mechanism: Mechanism
    }

    private(set) var terms: [Term] = []
    /// Whose record decides when no term does.
    private(set) var redirect: String?

    private static let version = "v=spf1"

    /// Whether a TXT record is one: `v=spf1`, and nothing or a blank behind it.
    static func isOne(_ text: String) -> Bool {
        let bytes = text.utf8
        guard let end = bytes.index(bytes.startIndex, offsetBy: 6, limitedBy: bytes.endIndex) else { return false }
        return lowered(bytes[..<end]) == version && (end == bytes.endIndex || bytes[end] == UInt8(ascii: " "))
    }

    /// - Throws: at the first word that is no term.
    init(parsing text: String) throws(SenderPolicyError) {
        for word in text.utf8.split(octet: " ").dropFirst() {
            if let equals = word.firstIndex(where: { Self.ends.contains($0) }), word[equals] == UInt8(ascii: "=") {
                let value = String(Substring(word[word.index(after: equals)...]))
                guard Self.lowered(word[..<equals]) == "redirect" else { continue }
                guard redirect == nil, !value.isEmpty else { throw SenderPolicyError(word: String(Substring(word))) }
                redirect = value
            } else {
                terms.append(try Self.term(word))
            }
        }
    }

    /// What ends the name of a term.
    private static let ends = Set(":/=".utf8)

    private static func term(_ word: Substring.UTF8View) throws(SenderPolicyError) -> Term {
        let text = String(Substring(word))
        var rest = word
        var verdict = SenderPolicy.Verdict.pass
        let signs: [UInt8: SenderPolicy.Verdict] = [
            UInt8(ascii: "+"): .pass, UInt8(ascii: "-"): .fail, UInt8(ascii: "~"): .softFail,
            UInt8(ascii: "?"): .neutral,
        ]
        if let sign = rest.first.flatMap({ signs[$0] }) {
            verdict = sign
            rest = rest.dropFirst()
        }
        let name = rest.prefix { !ends.contains($0) }
        rest = rest[name.endIndex...]
        var value: Substring.UTF8View?
        if rest.first == UInt8(ascii: ":") {
            let found = rest.dropFirst().prefix { $0 != UInt8(ascii: "/") }
            guard !found.isEmpty else { throw SenderPolicyError(word: text) }
            value = found
            rest = rest[found.endIndex...]
        }
        guard let mechanism = mechanism(lowered(name), value.map { String(Substring($0)) }, rest) else {
            throw SenderPolicyError(word: text)
        }
        return Term(word: text, verdict: verdict, mechanism: mechanism)
    }

    /// - Parameter lengths: of prefixes, with the slash in front; empty when none is given.
    private static func mechanism(_ name: String, _ value: String?, _ lengths: Substring.UTF8View) -> Mechanism? {
        switch name {
        case "all": return value == nil && lengths.isEmpty ? .all : nil
        case "include": return lengths.isEmpty ? value.map { .include($0) } : nil
        case "exists", "ptr": return .unsupported
        case "ip4", "ip6":
            guard let address = value.flatMap({ IPAddress($0) }), address.isV6 == (name == "ip6") else { return nil }
            let longest = address.isV6 ? 128 : 32
            guard let length = lengths.isEmpty ? longest : self.length(lengths, atMost: longest) else { return nil }
            return .network(IPNetwork(address, prefix: length))
        case "a", "mx":
            guard let (v4, v6) = dual(lengths) else { return nil }
            return .hosts(areExchangers: name == "mx", of: value, v4: v4, v6: v6)
        default: return nil
        }
    }

    /// `/24`, `//64` or `/24//64`.
    private static func dual(_ text: Substring.UTF8View) -> (v4: Int, v6: Int)? {
        guard !text.isEmpty else { return (32, 128) }
        let slash = UInt8(ascii: "/")
        if text.dropFirst().first == slash {
            return length(text.dropFirst(), atMost: 128).map { (32, $0) }
        }
        let first = text.dropFirst().prefix { $0 != slash }
        guard let v4 = length(text[..<first.endIndex], atMost: 32) else { return nil }
        let rest = text[first.endIndex...]
        guard !rest.isEmpty else { return (v4, 128) }
        guard rest.dropFirst().first == slash, let v6 = length(rest.dropFirst(), atMost: 128) else { return nil }
        return (v4, v6)
    }

    /// `/24`.
    private static func length(_ text: Substring.UTF8View, atMost limit: Int) -> Int? {
        let digits = text.dropFirst()
        guard text.first == UInt8(ascii: "/"), digits.allSatisfy({ (0x30...0x39).contains($0) }),
            let number = Int(Substring(digits)), number <= limit
        else { return nil }
        return number
    }

    private static func lowered(_ text: Substring.UTF8View) -> String {
        String(decoding: text.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
    }
}

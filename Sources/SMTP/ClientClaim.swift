// ClientClaim.swift — what a trusted client tells of another one: XCLIENT, which the session is then about, and XFORWARD, which
// logs and filters are told (Postfix's XCLIENT_README and XFORWARD_README).
//
// Guarantees: a value is printable and short; what cannot be understood is refused as a whole, because an address decides who may
// relay.

package import Mail

/// Attributes of a client.
package struct ClientClaim: Hashable, Sendable {
    /// One attribute.
    package enum Told<Value: Hashable & Sendable>: Hashable, Sendable {
        /// Not a word.
        case unsaid
        /// `[UNAVAILABLE]` or `[TEMPUNAVAIL]`.
        case unknown
        case value(Value)

        /// The value, where there is one.
        package var value: Value? { if case .value(let value) = self { value } else { nil } }

        /// What it is once this was told too.
        func updated(by other: Told) -> Told { other == .unsaid ? self : other }
    }

    /// Which of the two commands.
    package enum Kind: Hashable, Sendable {
        case client, forward
    }

    /// The name of its host.
    package var name = Told<String>.unsaid
    package var address = Told<IPAddress>.unsaid
    package var port = Told<UInt16>.unsaid
    /// What it called itself.
    package var helo = Told<String>.unsaid
    /// Whether it speaks ESMTP.
    package var isExtended = Told<Bool>.unsaid
    /// Who it has proved to be, to whoever tells it.
    package var login = Told<String>.unsaid
    /// What the message is called where it comes from.
    package var ident = Told<String>.unsaid

    package init() {}

    /// Octets of a value.
    private static let longest = 255

    /// Reads `NAME=value ADDR=value …`; names in any case, values in xtext.
    ///
    /// - Returns: nil when a name or a value is none, or nothing is told.
    package init?(_ text: String, _ kind: Kind) {
        let words = text.words
        guard !words.isEmpty else { return nil }
        for word in words {
            guard let equals = word.firstIndex(ofOctet: "="),
                take(word[..<equals].uppercasedASCII, word[word.utf8.index(after: equals)...], kind)
            else { return nil }
        }
    }

    private mutating func take(_ name: String, _ raw: Substring, _ kind: Kind) -> Bool {
        guard let text = Self.decoded(raw) else { return false }
        let isUnknown = ["[UNAVAILABLE]", "[TEMPUNAVAIL]"].contains { text.uppercasedASCII.isSame(octets: $0) }
        func told<Value>(_ read: (String) -> Value?) -> Told<Value>? {
            isUnknown ? .unknown : read(text).map { .value($0) }
        }
        func assign<Value>(_ field: WritableKeyPath<ClientClaim, Told<Value>>, _ read: (String) -> Value?) -> Bool {
            guard let value = told(read) else { return false }
            self[keyPath: field] = value
            return true
        }
        switch (name, kind) {
        case ("NAME", _): return assign(\.name, Self.word)
        case ("ADDR", _): return assign(\.address, Self.address)
        case ("PORT", _): return assign(\.port, UInt16.init)
        case ("HELO", _): return assign(\.helo, Self.word)
        case ("PROTO", _): return assign(\.isExtended, Self.isExtended)
        case ("LOGIN", .client): return assign(\.login, Self.word)
        case ("IDENT", .forward): return assign(\.ident, Self.word)
        // What nothing is made of here; their values are looked at all the same.
        case ("REVERSE_NAME", .client), ("DESTADDR", .client), ("DESTPORT", .client), ("SOURCE", .forward): return true
        default: return false
        }
    }

    private static func word(_ text: String) -> String? { text.utf8.isEmpty ? nil : text }

    private static func address(_ text: String) -> IPAddress? {
        let isPrefixed = text.uppercasedASCII.starts(withOctets: "IPV6:")
        return IPAddress(isPrefixed ? text.dropping(octets: 5) : text[...])
    }

    private static func isExtended(_ text: String) -> Bool? {
        switch text.uppercasedASCII {
        case "SMTP": false
        case "ESMTP": true
        default: nil
        }
    }

    /// Octets of xtext (RFC 3461 §4); nil for what is none, or not printable, or has blanks, or is too long.
    private static func decoded(_ raw: Substring) -> String? {
        var octets: [UInt8] = []
        var rest = raw.utf8[...]
        while let octet = rest.popFirst() {
            var value = octet
            if octet == UInt8(ascii: "+") {
                let digits = String(Substring(rest.prefix(2)))
                guard digits.utf8.count == 2, let number = UInt8(digits, radix: 16) else { return nil }
                rest = rest.dropFirst(2)
                value = number
            }
            guard (0x21...0x7E).contains(value) else { return nil }
            octets.append(value)
        }
        guard octets.count <= longest else { return nil }
        return String(decoding: octets, as: UTF8.self)
    }

    /// What is known once this was told too.
    package func updated(by other: ClientClaim) -> ClientClaim {
        var claim = self
        claim.name = name.updated(by: other.name)
        claim.address = address.updated(by: other.address)
        claim.port = port.updated(by: other.port)
        claim.helo = helo.updated(by: other.helo)
        claim.isExtended = isExtended.updated(by: other.isExtended)
        claim.login = login.updated(by: other.login)
        claim.ident = ident.updated(by: other.ident)
        return claim
    }
}

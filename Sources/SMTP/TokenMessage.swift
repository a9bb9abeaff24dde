// TokenMessage.swift — what a client sends with OAUTHBEARER and XOAUTH2: who it says it is, and its access token (RFC 7628 §3.1,
// Google's "XOAUTH2 Protocol").

import Mail

/// The one message of a client.
struct TokenMessage: Hashable, Sendable {
    /// Empty where none is named.
    let user: String
    let token: [UInt8]

    /// - Parameter isBare: XOAUTH2, which has no GS2 header.
    /// - Returns: nil for what is neither, for channel binding, and for a token that is none (RFC 6750 §2.1).
    init?(_ message: [UInt8], isBare: Bool) {
        // The message ends with two of the octets that end each pair.
        guard message.count > 4, message.suffix(2).elementsEqual([1, 1]) else { return nil }
        var parts = message.dropLast(2).split(separator: 1, omittingEmptySubsequences: false)[...]
        var user: [UInt8] = []
        if !isBare {
            guard let header = parts.popFirst(), let name = Self.name(inHeader: Array(header)) else { return nil }
            user = name
        }
        var token: [UInt8]?
        for part in parts {
            guard let equals = part.firstIndex(of: UInt8(ascii: "=")) else { return nil }
            let (key, value) = (String(decoding: part[..<equals], as: UTF8.self), Array(part[(equals + 1)...]))
            switch key {
            case "user" where isBare: user = value
            case "auth":
                guard token == nil, let found = Self.bearer(value) else { return nil }
                token = found
            case "host", "port": break
            default: guard !isBare, !key.isEmpty else { return nil }
            }
        }
        guard let token else { return nil }
        if user.isEmpty {
            self.user = ""
        } else {
            guard let name = SASLExchange.name(user) else { return nil }
            self.user = name
        }
        self.token = token
    }

    /// `n,a=user,`, `n,,`.
    private static func name(inHeader header: [UInt8]) -> [UInt8]? {
        let fields = header.split(octet: ",", omittingEmpty: false)
        guard fields.count == 3, fields[0] == [UInt8(ascii: "n")] || fields[0] == [UInt8(ascii: "y")], fields[2].isEmpty
        else { return nil }
        if fields[1].isEmpty { return [] }
        guard fields[1].starts(with: Array("a=".utf8)) else { return nil }
        return ScramFirst.unescape(fields[1].dropFirst(2))
    }

    /// `Bearer token`, in any case of letters.
    private static func bearer(_ value: [UInt8]) -> [UInt8]? {
        let scheme = Array("bearer ".utf8)
        guard value.count > scheme.count, zip(value, scheme).allSatisfy({ $0 | 0x20 == $1 }) else { return nil }
        let token = Array(value.dropFirst(scheme.count).drop { $0 == 0x20 })
        let isPlain = token.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"), UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "="):
                true
            default: false
            }
        }
        return isPlain && !token.isEmpty ? token : nil
    }
}

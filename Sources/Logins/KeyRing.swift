// KeyRing.swift — the keys of an issuer: a JWKS from a file or a URL, kept, fetched again in time and when an unknown key is named
// (RFC 7517). A value but for the fetching; time is passed in.
//
// Guarantees: bounded (64 keys, 256 KiB); a client that makes up names of keys makes us ask at most once a minute; while the issuer
// cannot be reached, keys that were fetched hold for a day.

import JSON
import Mail
import OpenSSL

/// Keys by their names.
struct KeyRing: Sendable {
    /// One key of the set.
    struct Entry: Sendable {
        /// `kid`; nil for one without.
        let name: String?
        let key: VerifyingKey
    }

    /// What to do before a token is judged.
    enum Need: Hashable { case nothing, fetch }

    private static let most = 64
    /// Milliseconds between two fetches that somebody else caused, and for which keys hold that cannot be fetched again.
    private static let (pause, longest): (Int64, Int64) = (60_000, 86_400_000)

    private(set) var entries: [Entry] = []
    private var fetchedAt: Uptime?
    private var triedAt: Uptime?

    /// Whether keys are to be fetched first.
    ///
    /// - Parameters:
    ///   - name: `kid` of a token.
    ///   - refresh: milliseconds.
    func need(_ name: String?, refresh: Int64, at now: Uptime) -> Need {
        guard let fetchedAt else { return mayTry(at: now, pause: 1000) ? .fetch : .nothing }
        if fetchedAt.adding(milliseconds: refresh) <= now {
            return mayTry(at: now, pause: Self.pause) ? .fetch : .nothing
        }
        guard let name, !entries.contains(where: { $0.name?.isSame(octets: name) ?? false }) else { return .nothing }
        return mayTry(at: now, pause: Self.pause) ? .fetch : .nothing
    }

    private func mayTry(at now: Uptime, pause: Int64) -> Bool {
        triedAt.map { $0.adding(milliseconds: pause) <= now } ?? true
    }

    /// Somebody is about to fetch.
    mutating func tries(at now: Uptime) { triedAt = now }

    /// The set is this now.
    mutating func take(_ entries: [Entry], at now: Uptime) { (self.entries, fetchedAt) = (entries, now) }

    /// Keys that may verify a token; nil where none are known well enough to say that a token is bad.
    func keys(_ name: String?, _ method: VerifyingKey.Method, at now: Uptime) -> [VerifyingKey]? {
        guard let fetchedAt, fetchedAt.adding(milliseconds: Self.longest) > now else { return nil }
        return entries.filter { entry in
            guard entry.key.method == method else { return false }
            guard let name else { return true }
            return entry.name.map { $0.isSame(octets: name) } ?? true
        }.map(\.key)
    }

    /// Reads a JWKS; keys that are not for signatures, or of a kind that we do not verify, are left out.
    ///
    /// - Returns: nil for what is none.
    static func read(_ bytes: [UInt8]) -> [Entry]? {
        guard let value = try? JSON(parsing: bytes), case .array(let items)? = value["keys"] else { return nil }
        return items.prefix(most).compactMap { item in
            guard item["use"]?.string.map({ $0.isSame(octets: "sig") }) ?? true, let key = key(item) else { return nil }
            if let method = item["alg"]?.string, !method.isSame(octets: key.method.rawValue) { return nil }
            return Entry(name: item["kid"]?.string, key: key)
        }
    }

    private static func key(_ item: JSON) -> VerifyingKey? {
        func octets(_ name: String) -> [UInt8]? { item[name]?.string.flatMap { Base64URL.decode($0.utf8) } }
        switch (item["kty"]?.string, item["crv"]?.string) {
        case ("RSA", _):
            guard let n = octets("n"), let e = octets("e") else { return nil }
            return VerifyingKey(modulus: n, exponent: e)
        case ("EC", "P-256"):
            guard let x = octets("x"), let y = octets("y") else { return nil }
            return VerifyingKey(x: x, y: y)
        case ("OKP", "Ed25519"): return octets("x").flatMap { VerifyingKey(ed25519: $0) }
        default: return nil
        }
    }
}

/// Base64 with the alphabet of URLs, without padding (RFC 4648 §5, RFC 7515 §2).
enum Base64URL {
    static func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        var plain: [UInt8] = []
        plain.reserveCapacity(text.count + 3)
        for byte in text {
            switch byte {
            case UInt8(ascii: "-"): plain.append(UInt8(ascii: "+"))
            case UInt8(ascii: "_"): plain.append(UInt8(ascii: "/"))
            case UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "="): return nil
            default: plain.append(byte)
            }
        }
        while plain.count % 4 != 0 { plain.append(UInt8(ascii: "=")) }
        return Base64.decode(plain)
    }
}

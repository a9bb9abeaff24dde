// AddressSeal.swift — what proves that an address was made here, and lately: a keyed tag, and a day in two letters. Pure; time is
// passed in.
//
// Guarantees: tags are compared in a time that tells nothing; letters count alike in both cases, because relays change them.

import Mail
import OpenSSL

/// Makes tags and days for addresses, and knows its own again.
struct AddressSeal: Hashable, Sendable {
    /// The first one makes tags, all are believed.
    let secrets: [Secret]
    /// How long a day is believed, days.
    let days: Int

    /// Letters of a tag.
    static let tagLength = 8
    /// Days that two letters tell apart.
    private static let cycle: Int64 = 1024
    private static let letters = Array("abcdefghijklmnopqrstuvwxyz234567".utf8)

    /// The tag of a text: 40 bits in eight letters.
    func tag(_ text: String) -> String { secrets.first.map { Self.tag(text, $0) } ?? "" }

    /// Whether a tag was made here for that text.
    func made(_ tag: some StringProtocol, for text: String) -> Bool {
        let tag = Array(tag.lowercasedASCII.utf8)
        var isOurs = false
        // All of them, so that nobody learns which one it was.
        for secret in secrets where Secrets.areEqual(tag, Array(Self.tag(text, secret).utf8)) { isOurs = true }
        return isOurs
    }

    private static func tag(_ text: String, _ secret: Secret) -> String {
        let key = Array(secret.revealed.utf8)
        let hash = KeyedHash.hmac(.sha256, key: key, message: Array(text.lowercasedASCII.utf8))
        let bits = hash.prefix(5).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return String(decoding: (0..<tagLength).map { letters[Int(bits >> UInt64(35 - 5 * $0) & 31)] }, as: UTF8.self)
    }

    private static func number(of now: Timestamp) -> Int64 {
        let day = now.milliseconds / 86_400_000
        return (day % cycle + cycle) % cycle
    }

    /// Today in two letters.
    static func day(_ now: Timestamp) -> String {
        let number = Int(number(of: now))
        return String(decoding: [letters[number >> 5], letters[number & 31]], as: UTF8.self)
    }

    /// Whether a day in two letters is not too long ago.
    func isRecent(_ day: some StringProtocol, at now: Timestamp) -> Bool {
        let places = day.lowercasedASCII.utf8.compactMap { Self.letters.firstIndex(of: $0) }
        guard day.utf8.count == 2, places.count == 2 else { return false }
        let age = (Self.number(of: now) - Int64(places[0] << 5 | places[1]) + Self.cycle) % Self.cycle
        // One day more than now: clocks of several relays differ.
        return age <= Int64(days) || age == Self.cycle - 1
    }
}

extension AddressSeal {
    /// What a section that keeps a seal says of it: `secret`, `secret_previous`, `days`.
    struct Draft {
        static let keys = ["secret", "secret_previous", "days"]
        private var secrets: [String: Secret] = [:]
        private var days = 21

        /// Takes an entry.
        ///
        /// - Returns: false when it is not about a seal.
        mutating func take(
            _ entry: INIDocument.Entry,
            in surroundings: inout Surroundings
        ) throws(ValueError) -> Bool {
            switch entry.key {
            case "secret", "secret_previous":
                let secret = try surroundings.secret(entry.value)
                guard secret.revealed.utf8.count >= 16 else {
                    throw ValueError("\(entry.key): has less than 16 octets")
                }
                secrets[entry.key] = secret
            case "days": days = try ValueParsing.count(entry.value, 1...365)
            default: return false
            }
            return true
        }

        /// nil: there is no secret.
        var seal: AddressSeal? {
            guard let secret = secrets["secret"] else { return nil }
            return AddressSeal(secrets: [secret] + [secrets["secret_previous"]].compactMap(\.self), days: days)
        }
    }
}

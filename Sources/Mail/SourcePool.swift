// SourcePool.swift — several addresses of ours that share some mail by weights: which of them takes a message. Pure.
//
// The message's own number decides, so that it leaves from the same address whenever it is tried again, over a restart too: a
// server that puts strangers off remembers them by their address.

/// A section `[pool NAME]` of `outbound_ip.ini`.
package struct SourcePool: Hashable, Sendable {
    /// An address of the pool, or one of each family.
    package struct Member: Hashable, Sendable {
        /// It names the pool too.
        package let source: Source
        /// Its part of the mail, beside those of the others.
        package let weight: Int

        package init(_ source: Source, weight: Int = 1) { (self.source, self.weight) = (source, weight) }
    }

    /// Members of a pool, so that a set of them is a word.
    package static let mostMembers = 64
    package static let mostWeight = 1000

    package let name: String
    package let members: [Member]
    /// `outbound_ip.ini:12`.
    package let origin: String

    /// - Parameter members: at least one and at most ``mostMembers``.
    package init(_ name: String, _ members: [Member], origin: String = "") {
        (self.name, self.members, self.origin) = (name, members, origin)
    }

    /// The place of a member; nil: it is none, or no longer.
    package func place(of source: Source) -> Int? {
        members.firstIndex { $0.source.v4 == source.v4 && $0.source.v6 == source.v6 }
    }

    /// The member that takes a message.
    ///
    /// - Parameters:
    ///   - key: the message's number.
    ///   - without: members that are not asked, by their places as bits.
    /// - Returns: its place; nil when none is left.
    package func pick(_ key: UInt64, without: UInt64 = 0) -> Int? {
        var total: UInt64 = 0
        for (place, member) in members.enumerated() where without >> UInt64(place) & 1 == 0 {
            total += UInt64(member.weight)
        }
        guard total > 0 else { return nil }
        // Who is left takes the parts of the others by weight too: another number for each set.
        var rest = Self.mixed(key ^ Self.mixed(without)) % total
        for (place, member) in members.enumerated() where without >> UInt64(place) & 1 == 0 {
            guard rest >= UInt64(member.weight) else { return place }
            rest -= UInt64(member.weight)
        }
        return nil
    }

    /// Spreads numbers that come one behind the other (the finalizer of splitmix64).
    private static func mixed(_ key: UInt64) -> UInt64 {
        var word = key &+ 0x9E37_79B9_7F4A_7C15
        word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
        return word ^ word >> 31
    }

    /// Whether a text can be the name of a pool: letters, digits, `.`, `_` and `-`.
    package static func isName(_ text: some StringProtocol) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { octet in
                switch octet {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }
}

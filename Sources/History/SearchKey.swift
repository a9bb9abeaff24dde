// SearchKey.swift — under which numbers a stretch of history is found: hashes of what people look for. Pure.
//
// Two texts with one number cost a look at a block that has nothing, never a wrong answer: what is found is compared.

import Mail

enum SearchKey {
    private enum Kind: UInt8 {
        case message = 1
        case recipient, sender, domain, headerMessageID, tag
    }

    static func message(_ id: QueueID) -> UInt64 {
        // Ids differ in their lowest bits, which a multiplication spreads.
        (id.rawValue &+ UInt64(Kind.message.rawValue)) &* 0x9E37_79B9_7F4A_7C15
    }

    static func recipient(_ address: String) -> UInt64 { hash(.recipient, address) }
    static func sender(_ address: String) -> UInt64 { hash(.sender, address) }
    static func domain(_ domain: String) -> UInt64 { hash(.domain, domain) }
    static func headerMessageID(_ text: String) -> UInt64 { hash(.headerMessageID, text) }
    static func tag(_ text: String) -> UInt64 { hash(.tag, text) }

    /// Everything that a message is found by, but its id.
    static func forEach(of context: MessageContext, _ take: (UInt64) -> Void) {
        address(context.sender, .sender, take)
        for recipient in context.recipients { address(recipient.address, .recipient, take) }
        if let id = context.headerMessageID { take(headerMessageID(id)) }
        if let tag = context.tag { take(self.tag(tag)) }
    }

    /// The keys of an address and of what stands behind its last `@`.
    private static func address(_ text: String, _ kind: Kind, _ take: (UInt64) -> Void) {
        withOctets(of: text) { octets in
            take(hash(kind, octets))
            guard let at = octets.lastIndex(of: UInt8(ascii: "@")) else { return }
            take(hash(.domain, UnsafeBufferPointer(rebasing: octets[(at + 1)...])))
        }
    }

    /// What stands behind the last `@`.
    static func domain(of address: String) -> Substring? {
        guard let at = address.utf8.lastIndex(of: UInt8(ascii: "@")) else { return nil }
        return address[address.utf8.index(after: at)...]
    }

    private static func hash(_ kind: Kind, _ text: String) -> UInt64 { withOctets(of: text) { hash(kind, $0) } }

    private static func withOctets<Value>(of text: String, _ body: (UnsafeBufferPointer<UInt8>) -> Value) -> Value {
        var text = text
        return text.withUTF8(body)
    }

    /// FNV-1a, stirred once more; letters of ASCII are small, as people search without regard to case.
    private static func hash(_ kind: Kind, _ octets: UnsafeBufferPointer<UInt8>) -> UInt64 {
        var value: UInt64 = (0xCBF2_9CE4_8422_2325 ^ UInt64(kind.rawValue)) &* 0x0000_0100_0000_01B3
        for byte in octets {
            let small = byte &- 0x41 < 26 ? byte | 0x20 : byte
            value = (value ^ UInt64(small)) &* 0x0000_0100_0000_01B3
        }
        value ^= value >> 32
        return value &* 0xD6E8_FEB8_6659_FD93
    }
}

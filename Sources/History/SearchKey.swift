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
    static func domain(_ domain: some StringProtocol) -> UInt64 { hash(.domain, domain) }
    static func headerMessageID(_ text: String) -> UInt64 { hash(.headerMessageID, text) }
    static func tag(_ text: String) -> UInt64 { hash(.tag, text) }

    /// Everything that a message is found by, but its id.
    static func forEach(of context: MessageContext, _ take: (UInt64) -> Void) {
        take(sender(context.sender))
        if let domain = domain(of: context.sender) { take(self.domain(domain)) }
        for recipient in context.recipients {
            take(self.recipient(recipient.address))
            if let domain = domain(of: recipient.address) { take(self.domain(domain)) }
        }
        if let id = context.headerMessageID { take(headerMessageID(id)) }
        if let tag = context.tag { take(self.tag(tag)) }
    }

    /// What stands behind the last `@`.
    static func domain(of address: String) -> Substring? {
        guard let at = address.utf8.lastIndex(of: UInt8(ascii: "@")) else { return nil }
        return address[address.utf8.index(after: at)...]
    }

    /// FNV-1a, stirred once more; letters of ASCII are small, as people search without regard to case.
    private static func hash(_ kind: Kind, _ text: some StringProtocol) -> UInt64 {
        var value: UInt64 = 0xCBF2_9CE4_8422_2325
        func take(_ byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        take(kind.rawValue)
        func take(_ bytes: some Sequence<UInt8>) {
            for byte in bytes { take(byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte) }
        }
        if text.utf8.withContiguousStorageIfAvailable({ take($0) }) == nil { take(text.utf8) }
        value ^= value >> 32
        return value &* 0xD6E8_FEB8_6659_FD93
    }
}

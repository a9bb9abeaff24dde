// HexadecimalTests.swift — digits are bytes and back, and what is no digit is none.

import Mail
import Testing

@Suite struct HexadecimalTests {
    @Test func everyByteComesBack() {
        let bytes = (UInt8.min...UInt8.max).map { $0 }
        #expect(bytes.hexadecimal.utf8.count == 512)
        #expect([UInt8](hexadecimal: bytes.hexadecimal) == bytes)
        #expect([UInt8](hexadecimal: "00fFAa") == [0, 255, 170])
        #expect([UInt8](hexadecimal: "") == [])
        #expect([UInt8]([0xDE, 0xAD]).hexadecimalOctets == Array("dead".utf8))
    }

    /// What `UInt8(_:radix:)` takes, too: a sign.
    @Test(arguments: ["+f", "-0", "0", "abc", "0x", " 1", "g0", "é", "１１"])
    func nothingElseIsRead(text: String) { #expect([UInt8](hexadecimal: text) == nil) }
}

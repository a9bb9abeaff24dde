// PasswordHashTests.swift — hashes that other programs made, hashes that we make, and what is none.

import Passwords
import Testing

struct PasswordHashTests {
    /// Made by libcrypt from another program, with known salts.
    @Test(arguments: [
        "$6$saltstring$adDbXsJjcDlq2662QPgd.tkSOVmnG9Tt3oXl4HR60SusC3AGjirnDenVZp3DGwLwqy6iYKCzannhaX9DR72nN1",
        "$2b$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu",
        "$2y$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu",
        "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W.zEaKlOBL35rC",
    ])
    func verifiesWhatOthersMade(text: String) throws {
        let hash = try #require(PasswordHash(text))
        #expect(hash.matches(Array("password".utf8)))
        #expect(!hash.matches(Array("Password".utf8)))
    }

    @Test(arguments: PasswordHash.Method.allCases)
    func verifiesWhatItMade(method: PasswordHash.Method) throws {
        let hash = try #require(PasswordHash(of: Array("pässword ;1".utf8), method: method))
        #expect(hash.text.hasPrefix(method.rawValue))
        #expect(hash.matches(Array("pässword ;1".utf8)))
        #expect(!hash.matches(Array("pässword ;2".utf8)))
        #expect(!hash.matches([]))
        #expect(PasswordHash(hash.text) == hash)
        #expect(!"\(hash)".contains(hash.text))
        let again = try #require(PasswordHash(of: Array("pässword ;1".utf8), method: method))
        #expect(again != hash, "every hash has a salt of its own")
    }

    @Test func passwordsThatCannotBeHashedMatchNothing() throws {
        let hash = try #require(PasswordHash(of: Array("x".utf8), method: .sha512))
        #expect(!hash.matches([0]))
        #expect(!hash.matches(Array("x".utf8) + [0]))
        #expect(!hash.matches([UInt8](repeating: 0x78, count: 512)))
        #expect(PasswordHash(of: []) == nil)
        #expect(PasswordHash(of: [UInt8](repeating: 0x78, count: 512)) == nil)
    }

    @Test(arguments: [
        "", "plain", "$y$", "$6$", "$6$salt", "$1$salt$qJH7.N4xYta3aEG/dfqo/0", "$6$salt$short", "$2b$10$",
        "$y$j9T$salt$", "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g",
    ])
    func whatIsNoHashIsRefused(text: String) { #expect(PasswordHash(text) == nil) }

    @Test func comparesInConstantTime() {
        #expect(ConstantTime.equal([1, 2, 3], [1, 2, 3]))
        #expect(!ConstantTime.equal([1, 2], [1, 2, 3]))
        #expect(!ConstantTime.equal([1, 2, 3, 4], [1, 2, 3]))
        #expect(!ConstantTime.equal([1, 2, 4], [1, 2, 3]))
        #expect(!ConstantTime.equal([1], []))
        #expect(ConstantTime.equal([], []))
    }
}

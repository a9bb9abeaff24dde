// SigningKeyTests.swift — keys that are read, made and used; contexts that refuse what does not fit.

import OpenSSL
import Testing

struct SigningKeyTests {
    @Test(arguments: [SigningKey.Kind.rsa(bits: 2048), .ed25519, .p256])
    func signsAndSurvivesPEM(_ kind: SigningKey.Kind) throws {
        let key = try SigningKey.generate(kind)
        let copy = try SigningKey(pem: key.pem())
        #expect(copy.kind == kind)
        #expect(copy.publicKeyDER == key.publicKeyDER)
        let message = Array("signed headers".utf8)
        let signature = try key.sign(message)
        #expect(copy.isValid(signature, of: message))
        #expect(!copy.isValid(signature, of: message + [0]))
        #expect(try !SigningKey.generate(kind).isValid(signature, of: message))
        #expect((key.rawPublicKey?.count == 32) == (kind == .ed25519))
    }

    @Test func readsTheKeyOfRFC8032() throws {
        // RFC 8032 §7.1, test 1, in the wrapping of RFC 8410.
        let pem = """
            -----BEGIN PRIVATE KEY-----
            MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
            -----END PRIVATE KEY-----
            """
        let key = try SigningKey(pem: Array(pem.utf8))
        #expect(key.kind == .ed25519)
        #expect(key.rawPublicKey?.prefix(4) == [0xD7, 0x5A, 0x98, 0x01])
        #expect(key.publicKeyDER.suffix(32) == key.rawPublicKey?[...])
        #expect(try key.sign([]).prefix(4) == [0xE5, 0x56, 0x43, 0x00])
    }

    @Test(arguments: ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
    func refusesWhatIsNoKey(_ text: String) {
        #expect(throws: TLSError.self) { try SigningKey(pem: Array(text.utf8)) }
    }

    @Test func refusesAKeyWithAPassPhrase() {
        let pem = """
            -----BEGIN ENCRYPTED PRIVATE KEY-----
            MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgE4hW3sVb8wgICCAAw
            -----END ENCRYPTED PRIVATE KEY-----
            """
        let error = #expect(throws: TLSError.self) { try SigningKey(pem: Array(pem.utf8)) }
        #expect(error?.reason.contains("pass phrase") == true)
    }

    @Test func refusesWeakSizes() {
        #expect(throws: TLSError.self) { try SigningKey.generate(.rsa(bits: 512)) }
        #expect(throws: TLSError.self) { try SigningKey.generate(.rsa(bits: -1)) }
    }

    @Test func refusesAKeyOfAnotherCertificate() throws {
        let (one, other) = (try Certificates.make(["a.example"]), try Certificates.make(["b.example"]))
        let mixed = CertificatePair(certificates: one.certificates, key: other.key)
        let error = #expect(throws: TLSError.self) { try TLSContext.server(mixed) }
        #expect(error?.reason.contains("do not belong together") == true)
        let rsa = try Certificates.make(["c.example"], kind: .rsa(bits: 2048))
        let odd = CertificatePair(certificates: one.certificates, key: rsa.key)
        #expect(throws: TLSError.self) { try TLSContext.server(odd) }
        #expect(throws: TLSError.self) { try TLSContext.server(CertificatePair(certificates: [], key: one.key)) }
    }

    @Test func takesCiphersOfBothKinds() throws {
        let pair = try Certificates.make(["a.example"])
        #expect(throws: TLSError.self) { try TLSContext.server(pair) { $0.parameters.ciphers = "NO-SUCH-CIPHER" } }
        #expect(throws: TLSError.self) { try TLSContext.server(pair) { $0.parameters.ciphers = "TLS_NO_SUCH" } }
        let context = try TLSContext.server(pair) {
            $0.parameters.ciphers = "ECDHE+AESGCM:TLS_CHACHA20_POLY1305_SHA256"
        }
        let duet = try Duet(context, .client()).meet()
        #expect(duet.client.summary?.cipher == "TLS_CHACHA20_POLY1305_SHA256")
    }

    @Test(arguments: [[], ["a,DNS:evil.example"], ["a\nb"], [""], [String(repeating: "a", count: 300)]])
    func refusesNamesThatCannotStandInACertificate(_ names: [String]) {
        #expect(throws: TLSError.self) { try CertificatePair.make(CertificatePair.Request(names: names)) }
    }

    @Test func takesLongNamesAndAddresses() throws {
        let long = String(repeating: "a", count: 60) + "." + String(repeating: "b", count: 60) + ".example"
        let pair = try Certificates.make([long, "2001:db8::1", "192.0.2.1"])
        #expect(throws: Never.self) { try TLSContext.server(pair) }
    }

    @Test func aPairDoesNotShowItsKey() throws {
        let pair = try Certificates.make(["a.example"])
        #expect(!"\(pair)".contains("PRIVATE"))
        #expect(!String(reflecting: pair).contains("PRIVATE"))
    }
}

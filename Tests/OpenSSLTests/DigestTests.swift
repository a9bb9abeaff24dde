// DigestTests.swift — known answers for hashes, keyed hashes and password-based keys.

import OpenSSL
import Testing

struct DigestTests {
    private func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    @Test func sha256InPieces() {
        // FIPS 180-2, B.2
        let message = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
        let digest = Digest()
        for byte in message.utf8 { digest.update([byte]) }
        let expected = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        #expect(hexadecimal(digest.finish()) == expected)
        // It began anew.
        digest.update(Array(message.utf8))
        #expect(hexadecimal(digest.finish()) == expected)
        #expect(hexadecimal(Digest.sha256([])).hasPrefix("e3b0c44298fc1c14"))
    }

    @Test func hmacMD5OfCRAM() {
        // RFC 2195 §2
        let challenge = "<1896.697170952@postoffice.reston.mci.net>"
        let answer = KeyedHash.hmac(.md5, key: Array("tanstaaftanstaaf".utf8), message: Array(challenge.utf8))
        #expect(hexadecimal(answer) == "b913a602c7eda7a495b4e6e7334d3890")
    }

    @Test func hmacSHA256() {
        // RFC 4231, cases 2 and 6
        let message = Array("what do ya want for nothing?".utf8)
        let short = KeyedHash.hmac(.sha256, key: Array("Jefe".utf8), message: message)
        #expect(hexadecimal(short) == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        let long = KeyedHash.hmac(
            .sha256,
            key: [UInt8](repeating: 0xAA, count: 131),
            message: Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8)
        )
        #expect(hexadecimal(long) == "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
        #expect(KeyedHash.hmac(.sha256, key: [], message: []).count == 32)
    }

    @Test func pbkdf2() {
        // Known answers of RFC 6070's inputs for SHA-256.
        let once = KeyedHash.pbkdf2(.sha256, password: Array("password".utf8), salt: Array("salt".utf8), iterations: 1)
        #expect(hexadecimal(once) == "120fb6cffcf8b32c43e7225256c4f837a86548c92ccc35480805987cb70be17b")
        let often = KeyedHash.pbkdf2(
            .sha256,
            password: Array("password".utf8),
            salt: Array("salt".utf8),
            iterations: 4096
        )
        #expect(hexadecimal(often) == "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a")
        #expect(KeyedHash.pbkdf2(.sha256, password: [], salt: [], iterations: 1).count == 32)
        #expect(KeyedHash.pbkdf2(.sha256, password: [1], salt: [1], iterations: 0).isEmpty)
        #expect(KeyedHash.pbkdf2(.sha256, password: [1], salt: [1], iterations: .max).isEmpty)
    }

    @Test func secretsCompareWhole() throws {
        let secret = try Secrets.random(32)
        #expect(secret.count == 32)
        #expect(try secret != Secrets.random(32))
        #expect(Secrets.areEqual(secret, secret))
        #expect(!Secrets.areEqual(secret, Array(secret.dropLast())))
        var other = secret
        other[31] ^= 1
        #expect(!Secrets.areEqual(secret, other))
        #expect(Secrets.areEqual([], []))
    }
}

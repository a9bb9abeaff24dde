// WebTokenTests.swift — access tokens as JWT: what is good, and every way in which one is not; keys that come and go.

import Config
import JSON
import Mail
import OpenSSL
import Testing

@testable import Logins

/// A key that signs tokens, and its public half as a JWKS has it.
private struct Signer {
    let key: SigningKey
    let name: String
    let method: String

    init(_ kind: SigningKey.Kind, _ name: String) throws {
        key = try SigningKey.generate(kind)
        self.name = name
        method =
            switch kind {
            case .rsa: "RS256"
            case .ed25519: "EdDSA"
            case .p256: "ES256"
            }
    }

    var jwk: JSON {
        let der = key.publicKeyDER
        var value: JSON = ["kid": .string(name), "use": "sig", "alg": .string(method)]
        switch method {
        case "RS256":
            value["kty"] = "RSA"
            value["n"] = .string(Self.text(Array(der[33..<289])))
            value["e"] = .string(Self.text(Array(der.suffix(3))))
        case "ES256":
            (value["kty"], value["crv"]) = ("EC", "P-256")
            value["x"] = .string(Self.text(Array(der.suffix(64).prefix(32))))
            value["y"] = .string(Self.text(Array(der.suffix(32))))
        default:
            (value["kty"], value["crv"]) = ("OKP", "Ed25519")
            value["x"] = .string(Self.text(key.rawPublicKey ?? []))
        }
        return value
    }

    func token(_ claims: JSON, header: JSON? = nil) throws -> [UInt8] {
        let head = header ?? ["alg": .string(method), "kid": .string(name), "typ": "JWT"]
        let signed = "\(Self.text(head.bytes)).\(Self.text(claims.bytes))"
        var signature = try key.sign(Array(signed.utf8))
        if method == "ES256" { signature = Self.numbers(signature) }
        return Array("\(signed).\(Self.text(signature))".utf8)
    }

    /// Two numbers of a DER sequence as 32 octets each.
    private static func numbers(_ der: [UInt8]) -> [UInt8] {
        var (place, found) = (2, [UInt8]())
        for _ in 0..<2 {
            let count = Int(der[place + 1])
            let number = Array(der[(place + 2)..<(place + 2 + count)].drop { $0 == 0 })
            found += Array(repeating: 0, count: 32 - number.count) + number
            place += 2 + count
        }
        return found
    }

    static func text(_ bytes: [UInt8]) -> String {
        let text = Base64.encode(bytes).utf8.filter { $0 != UInt8(ascii: "=") }.map { byte in
            byte == UInt8(ascii: "+") ? UInt8(ascii: "-") : byte == UInt8(ascii: "/") ? UInt8(ascii: "_") : byte
        }
        return String(decoding: text, as: UTF8.self)
    }
}

struct WebTokenTests {
    private static let now = Timestamp(milliseconds: 1_800_000_000_000)

    private static var issuer: LoginSettings.Issuer {
        var issuer = LoginSettings.Issuer(name: "company")
        (issuer.issuer, issuer.keys) = ("https://id.example", "keys.json")
        (issuer.audiences, issuer.scopes) = (["smtp", "mail"], ["smtp.send"])
        return issuer
    }

    private static func claims(_ change: (inout JSON) -> Void = { _ in }) -> JSON {
        var claims: JSON = [
            "iss": "https://id.example", "aud": ["other", "smtp"], "scope": "openid smtp.send",
            "email": "alice@a.test", "exp": 1_800_000_300, "nbf": 1_799_999_900,
        ]
        change(&claims)
        return claims
    }

    private static func judge(_ token: [UInt8], _ keys: [VerifyingKey]) throws(WebToken.Refusal) -> String {
        try WebToken(token).judge(issuer, keys, at: now)
    }

    private static func keys(_ signers: Signer...) throws -> [VerifyingKey] {
        let set: JSON = ["keys": .array(signers.map(\.jwk))]
        return try #require(KeyRing.read(set.bytes)).map(\.key)
    }

    @Test(arguments: [SigningKey.Kind.rsa(bits: 2048), .p256, .ed25519])
    func aGoodTokenSaysWhoItIs(_ kind: SigningKey.Kind) throws {
        let signer = try Signer(kind, "one")
        let keys = try Self.keys(signer)
        for _ in 0..<20 { #expect(try Self.judge(signer.token(Self.claims()), keys) == "alice@a.test") }
        // Any octet that is another one ends it.
        let token = try signer.token(Self.claims())
        for place in stride(from: 0, to: token.count, by: 7) where token[place] != UInt8(ascii: ".") {
            var other = token
            other[place] = other[place] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            #expect(throws: WebToken.Refusal.self) { try Self.judge(other, keys) }
        }
        #expect(throws: WebToken.Refusal.self) { try Self.judge(token, Self.keys(Signer(kind, "one"))) }
    }

    @Test func whatIsWrongIsRefusedAndNamed() throws {
        let signer = try Signer(.ed25519, "one")
        let keys = try Self.keys(signer)
        let wrong: [(String, (inout JSON) -> Void)] = [
            ("another issuer", { $0["iss"] = "https://id.example/" }),
            ("another issuer", { $0["iss"] = nil }),
            ("never expires", { $0["exp"] = nil }),
            ("never expires", { $0["exp"] = "1800000300" }),
            ("has expired", { $0["exp"] = 1_799_999_939 }),
            ("of the future (nbf)", { $0["nbf"] = 1_800_000_061 }),
            ("of the future (iat)", { $0["iat"] = 1_900_000_000 }),
            ("not for us", { $0["aud"] = "smtp2" }),
            ("not for us", { $0["aud"] = nil }),
            ("lacks the scope smtp.send", { $0["scope"] = "smtp.sender" }),
            ("no usable claim email", { $0["email"] = nil }),
            ("no usable claim email", { $0["email"] = "a\u{0}b" }),
            ("no usable claim email", { $0["email"] = ["a@b"] }),
        ]
        for (reason, change) in wrong {
            let token = try signer.token(Self.claims(change))
            let refusal = #expect(throws: WebToken.Refusal.self) { try Self.judge(token, keys) }
            #expect(refusal?.reason.contains(reason) == true, "\(reason): \(refusal?.reason ?? "")")
        }
        // Within what clocks may differ.
        let late = try signer.token(
            Self.claims {
                $0["exp"] = 1_799_999_941; $0["nbf"] = 1_800_000_059
            }
        )
        #expect(try Self.judge(late, keys) == "alice@a.test")
        let other = try signer.token(
            Self.claims {
                $0["scope"] = nil; $0["scp"] = ["smtp.send"]
            }
        )
        #expect(try Self.judge(other, keys) == "alice@a.test")
    }

    @Test func noOtherMethodThanTheKeysOwn() throws {
        let (rsa, edwards) = (try Signer(.rsa(bits: 2048), "rsa"), try Signer(.ed25519, "ed"))
        let keys = try Self.keys(rsa, edwards)
        let signed =
            "\(Signer.text(#"{"alg":"HS256","kid":"rsa"}"#.utf8.map { $0 })).\(Signer.text(Self.claims().bytes))"
        let mac = KeyedHash.hmac(.sha256, key: rsa.key.publicKeyDER, message: Array(signed.utf8))
        let none = Signer.text(Array(#"{"alg":"none"}"#.utf8))
        let body = Signer.text(Self.claims().bytes)
        for token in ["\(signed).\(Signer.text(mac))", "\(none).\(body).", "\(none).\(body)", "", "..", "a.b.c"] {
            #expect(throws: WebToken.Refusal.self) { try Self.judge(Array(token.utf8), keys) }
        }
        // Signed well, by a key that says it is for another method.
        let crossed = try edwards.token(Self.claims(), header: ["alg": "RS256", "kid": "rsa"])
        #expect(throws: WebToken.Refusal.self) { try Self.judge(crossed, keys) }
        let critical = try edwards.token(Self.claims(), header: ["alg": "EdDSA", "crit": ["x"]])
        #expect(throws: WebToken.Refusal.self) { try Self.judge(critical, keys) }
    }

    @Test func keysOfOtherKindsAreLeftOut() throws {
        let signer = try Signer(.ed25519, "one")
        var foreign = signer.jwk
        foreign["use"] = "enc"
        let set: JSON = [
            "keys": [signer.jwk, foreign, ["kty": "oct", "k": "AAAA"], ["kty": "RSA", "n": "AQAB", "e": "AQAB"], 1]
        ]
        #expect(KeyRing.read(set.bytes)?.count == 1)
        #expect(KeyRing.read(Array("{}".utf8)) == nil && KeyRing.read([]) == nil)
    }

    @Test func keysAreFetchedInTimeAndNotMoreOften() throws {
        var ring = KeyRing()
        let hour: Int64 = 3_600_000
        let start = Uptime(milliseconds: 1_000_000)
        #expect(ring.need("a", refresh: hour, at: start) == .fetch)
        #expect(ring.keys("a", .edDSA, at: start) == nil, "nothing is known, so nobody is refused")
        ring.tries(at: start)
        #expect(ring.need("a", refresh: hour, at: start.adding(milliseconds: 999)) == .nothing)
        let signer = try Signer(.ed25519, "a")
        ring.take(try #require(KeyRing.read((["keys": [signer.jwk]] as JSON).bytes)), at: start)
        #expect(ring.keys("a", .edDSA, at: start)?.count == 1 && ring.keys("b", .edDSA, at: start)?.isEmpty == true)
        #expect(ring.keys(nil, .edDSA, at: start)?.count == 1 && ring.keys("a", .rs256, at: start)?.isEmpty == true)
        #expect(ring.need("a", refresh: hour, at: start.adding(milliseconds: hour - 1)) == .nothing)
        // A name that nobody knows: once a minute.
        #expect(ring.need("b", refresh: hour, at: start.adding(milliseconds: 59_999)) == .nothing)
        #expect(ring.need("b", refresh: hour, at: start.adding(milliseconds: 60_000)) == .fetch)
        #expect(ring.need("a", refresh: hour, at: start.adding(milliseconds: hour)) == .fetch)
        ring.tries(at: start.adding(milliseconds: hour))
        #expect(ring.keys("a", .edDSA, at: start.adding(milliseconds: 24 * hour - 1))?.count == 1)
        #expect(ring.keys("a", .edDSA, at: start.adding(milliseconds: 24 * hour)) == nil)
    }
}

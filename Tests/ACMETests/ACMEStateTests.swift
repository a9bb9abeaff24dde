// ACMEStateTests.swift — when a certificate is asked for, and when the next attempt comes.

import JSON
import Testing

@testable import ACME

struct ACMEStateTests {
    private let life = CertificateLife(begin: 0, end: 90 * 86_400)

    @Test func aThirdOfItsLifeIsLeft() {
        var state = ACMEState()
        #expect(wantsCertificate(state, nil, for: ["a"], at: 0))
        #expect(wantsCertificate(state, (life, "ab"), for: ["a"], at: 0), "one that came otherwise")
        state.succeeded("ab", ["a"])
        #expect(!wantsCertificate(state, (life, "ab"), for: ["a"], at: 59 * 86_400))
        #expect(wantsCertificate(state, (life, "ab"), for: ["a"], at: 63 * 86_400))
        #expect(wantsCertificate(state, (life, "ab"), for: ["a", "b"], at: 1), "for other names")
        for seed in [UInt8.min, 100, .max] { #expect((60...62).contains(life.renewal(seed) / 86_400)) }
    }

    /// RFC 9773: what the authority says counts, before and after two thirds of its life, and never beyond five sixths.
    @Test func theAuthoritySaysWhen() {
        var state = ACMEState()
        state.succeeded("ab", ["a"])
        let certificate = (life, "ab")
        #expect(asksForWindow(state, certificate, at: 0) && !asksForWindow(state, (life, "cd"), at: 0))
        state.learnt(RenewalWindow(begin: 5 * 86_400, end: 6 * 86_400), retryAfter: 3600, at: 0)
        #expect(!asksForWindow(state, certificate, at: 3599) && asksForWindow(state, certificate, at: 3600))
        #expect(!wantsCertificate(state, certificate, for: ["a"], at: 5 * 86_400 - 1))
        #expect(wantsCertificate(state, certificate, for: ["a"], at: 6 * 86_400))
        #expect(ACMEState(Array(state.json.text.utf8)) == state)
        // No answer, and it stays.
        state.learnt(nil, retryAfter: nil, at: 3600)
        #expect(state.asks == 3600 + 21_600 && state.window?.begin == 5 * 86_400)
        state.learnt(RenewalWindow(begin: 80 * 86_400, end: 89 * 86_400), retryAfter: 1, at: 0)
        #expect(state.asks == 60 && !wantsCertificate(state, certificate, for: ["a"], at: 70 * 86_400))
        #expect(wantsCertificate(state, certificate, for: ["a"], at: 75 * 86_400), "its word is not worth an end")
        state.succeeded("cd", ["a"])
        #expect(state.window == nil && state.asks == 0)
    }

    @Test func waitsLongerEachTime() {
        var state = ACMEState()
        var waits: [Int] = []
        for _ in 0..<10 {
            state.failed("no", at: 1000, retryAfter: nil)
            waits.append(state.next - 1000)
        }
        #expect(waits == [900, 1800, 3600, 7200, 14_400, 28_800, 57_600, 86_400, 86_400, 86_400])
        state.failed("no", at: 1000, retryAfter: 200_000)
        #expect(state.next == 201_000)
        #expect(ACMEState(Array(state.json.text.utf8)) == state)
        #expect(ACMEState(Array("junk".utf8)) == ACMEState())
    }

    @Test func aSixthIsLittle() {
        #expect(!life.isExpiring(at: 74 * 86_400))
        #expect(life.isExpiring(at: 75 * 86_400))
    }
}

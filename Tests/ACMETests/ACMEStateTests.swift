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

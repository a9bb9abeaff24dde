// ACMEState.swift — what is remembered of certificates between two looks, and when the next one is due. Pure.

package import JSON
import Mail

/// What became of the last attempts.
package struct ACMEState: Hashable, Sendable {
    /// Its file in the data directory.
    package static let file = "acme/state.json"

    /// The hash of the certificate that came last.
    package var digest: String?
    /// What it is for.
    package var names: [String] = []
    /// Attempts in a row that brought none.
    package var failures = 0
    /// Seconds since 1970 before which nothing is tried.
    package var next = 0
    /// Why the last one brought none; nil: it did.
    package var trouble: String?
    /// When the authority wants it renewed; nil: it has not said.
    package var window: RenewalWindow?
    /// Seconds since 1970 before which it is not asked about that.
    package var asks = 0

    package init() {}

    /// Reads a file; one that makes no sense is none.
    package init(_ bytes: [UInt8]) {
        let bounds = JSONBounds(values: 1000, memory: 1 << 20)
        guard let value = try? JSON(parsing: bytes, within: bounds) else { return }
        digest = value["digest"]?.string
        names = (value["names"]?.elements ?? []).compactMap(\.string)
        failures = Int(value["failures"]?.double ?? 0)
        next = Int(value["next"]?.double ?? 0)
        trouble = value["trouble"]?.string
        asks = Int(value["asks"]?.double ?? 0)
        if let begin = value["renew_begin"]?.integer, let end = value["renew_end"]?.integer, begin < end {
            window = RenewalWindow(begin: begin, end: end)
        }
    }

    package var json: JSON {
        [
            "digest": .optional(digest), "names": .strings(names), "failures": .count(failures), "next": .count(next),
            "trouble": .optional(trouble), "asks": .count(asks),
            "renew_begin": window.map { .count($0.begin) } ?? .null,
            "renew_end": window.map { .count($0.end) } ?? .null,
        ]
    }

    /// An attempt brought a certificate.
    package mutating func succeeded(_ digest: String, _ names: [String]) {
        self = ACMEState()
        (self.digest, self.names) = (digest, names)
    }

    /// The authority was asked when it wants the certificate renewed.
    ///
    /// - Parameters:
    ///   - window: what it said; nil: nothing that could be understood, and what it said before stays.
    ///   - retryAfter: when it wants to be asked again, seconds; a minute at least, a day at most.
    ///   - now: seconds since 1970.
    /// - Source: RFC 9773 §4.3
    package mutating func learnt(_ window: RenewalWindow?, retryAfter: Int?, at now: Int) {
        self.window = window ?? self.window
        asks = now + min(max(retryAfter ?? 21_600, 60), 86_400)
    }

    /// An attempt brought none: a quarter of an hour, twice that each time, a day at most; longer where the authority says so.
    ///
    /// - Parameters:
    ///   - now: seconds since 1970.
    ///   - retryAfter: what the authority said, seconds.
    package mutating func failed(_ reason: String, at now: Int, retryAfter: Int?) {
        failures += 1
        trouble = reason
        let usual = min(900 << min(failures - 1, 7), 86_400)
        next = now + max(usual, min(retryAfter ?? 0, 14 * 86_400))
    }
}

/// How long a certificate lives.
package struct CertificateLife: Hashable, Sendable {
    /// Seconds since 1970.
    package let begin, end: Int

    package init(begin: Int, end: Int) { (self.begin, self.end) = (begin, end) }

    private var life: Int { max(end - begin, 1) }

    /// When it is renewed: two thirds of its life, and up to a fiftieth later, so that not all do it at once.
    ///
    /// - Parameter seed: tells one certificate from another, 0…255.
    package func renewal(_ seed: UInt8) -> Int { begin + life / 3 * 2 + life / 50 * Int(seed) / 256 }

    /// A sixth of its life is left: whoever could not renew it by now should be told.
    package func isExpiring(at now: Int) -> Bool { now >= lastMoment }

    /// When a sixth of its life is left.
    var lastMoment: Int { end - life / 6 }
}

/// Whether a certificate is asked for now.
///
/// - Parameters:
///   - certificate: the one in force with its hash; nil: there is none.
///   - names: what it is to be for.
///   - now: seconds since 1970.
package func wantsCertificate(
    _ state: ACMEState,
    _ certificate: (life: CertificateLife, digest: String)?,
    for names: [String],
    at now: Int
) -> Bool {
    guard now >= state.next else { return false }
    // One that came otherwise, such as a self-signed one of the first start.
    guard let certificate, state.digest == certificate.digest, state.names == names else { return true }
    let seed = certificate.digest.utf8.first ?? 0
    guard let window = state.window else { return now >= certificate.life.renewal(seed &* 16) }
    // The authority knows better, as when it has to revoke; but for its word nobody lets a certificate end.
    return now >= min(window.moment(seed &* 16), certificate.life.lastMoment)
}

/// Whether the authority is asked now when it wants a certificate renewed.
package func asksForWindow(
    _ state: ACMEState,
    _ certificate: (life: CertificateLife, digest: String)?,
    at now: Int
) -> Bool {
    guard let certificate else { return false }
    return state.digest == certificate.digest && now >= state.asks
}

// Upkeep.swift — what a running relay keeps alive without being asked: access to next hops, and its certificate.

import Departure
import Mail
import Queue

/// Looked at once a second.
struct Upkeep: Sendable {
    let tokens: TokenCare
    private let certificate: CertificateCare

    init(_ fetch: WebFetch, _ launch: Launch, _ queue: MailQueue) {
        (tokens, certificate) = (TokenCare(fetch, launch, queue), CertificateCare(launch, queue))
    }

    /// Once a second, on the main thread.
    func tick(at now: Timestamp) {
        tokens.tick(at: now)
        certificate.tick(at: now)
    }

    /// Makes every series, so that each is there from the start.
    static func declareMetrics() {
        TokenMetrics.declare()
        ACMEMetrics.declare()
    }
}

// Wiring+Posting.swift — next hops: how far they are trusted, and what posts mail to those that take it over HTTPS.

import Config
import DNS
import Delivery
import Departure
import HTTPClient
import Loop
import NIOPosix

extension Wiring {
    /// Threads that wait for mail APIs; one of them holds half.
    private static let postThreads = 16

    /// The office with threads of its own.
    static func postOffice(_ tokens: TokenSource, _ resolver: InForce<any DNS.Resolver>) -> PostOffice {
        let threads = NIOThreadPool(numberOfThreads: postThreads)
        threads.start()
        let fetch = WebFetch(
            HTTPClient(),
            on: threads,
            count: postThreads,
            perHost: postThreads / 2,
            resolver: resolver
        )
        return PostOffice(fetch, tokens: tokens)
    }

    /// Finds out how far next hops can be trusted, and counts how sessions with them were protected.
    static func trust(
        _ launch: Launch,
        _ resolver: InForce<any DNS.Resolver>,
        _ fetch: WebFetch,
        _ upkeep: Upkeep,
        _ memory: PeerMemory
    ) -> TrustFinder {
        let settings = launch.settings.inForce
        let kept = STSStore(directory: "\(launch.dataPath)/mta-sts")
        return TrustFinder(
            resolver: resolver,
            settings: settings,
            policies: STSPolicies(resolver: resolver, settings: settings, fetch: fetch, store: kept, log: launch.log),
            tokens: upkeep.tokens.source,
            memory: memory,
            results: upkeep.results
        )
    }
}

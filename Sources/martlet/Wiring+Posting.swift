// Wiring+Posting.swift — what posts mail to next hops that take it over HTTPS.

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
}

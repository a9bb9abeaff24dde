// HTTPClient.swift — HTTP through libcurl: blocking calls for a thread pool or a command-line tool.
//
// Safe from several threads: each call has a libcurl handle of its own, and handles go back to a small pool with their
// connections still open, so that the next call to the same server saves the handshake. No signals, no redirects.

import Synchronization

/// Sends requests and waits for answers.
///
/// Every call blocks its thread, until the request's timeout at most: never call it on an event loop.
package final class HTTPClient: Sendable {
    /// Handles kept for the next call; more are made when more calls run at once, and freed after.
    private static let mostIdle = 8

    private let idle = Mutex<[CurlHandle]>([])

    package init() {}

    /// Sends a request and waits for the answer, whatever its status.
    ///
    /// - Throws: why there is no answer.
    package func send(_ request: HTTPRequest) throws(HTTPError) -> HTTPResponse {
        try RequestCheck.check(request)
        let handle = try handle()
        // After an error the handle goes with its connections: what state they are in is unknown.
        let response = try Self.send(request, on: handle)
        idle.withLock { idle in
            if idle.count < Self.mostIdle { idle.append(handle) }
        }
        return response
    }

    private func handle() throws(HTTPError) -> CurlHandle {
        if let kept = idle.withLock({ $0.popLast() }) { return kept }
        return try CurlHandle()
    }

    /// Tries the request's addresses in order; only a connection that cannot be made leads to the next one.
    private static func send(_ request: HTTPRequest, on handle: CurlHandle) throws(HTTPError) -> HTTPResponse {
        guard let last = request.addresses.last else {
            return try handle.send(request, to: nil, within: request.timeout)
        }
        let begin = ContinuousClock.now
        for address in request.addresses.dropLast() {
            do throws(HTTPError) {
                return try handle.send(request, to: address, within: request.timeout - (ContinuousClock.now - begin))
            } catch {
                guard error.kind == .cannotConnect else { throw error }
            }
        }
        return try handle.send(request, to: last, within: request.timeout - (ContinuousClock.now - begin))
    }
}

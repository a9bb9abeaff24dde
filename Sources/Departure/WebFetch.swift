// WebFetch.swift — HTTP for tasks: libcurl's blocking calls on threads of their own.
//
// Guarantees: a request ends within its timeout, waiting for a thread included; servers that hang hold a part of the threads
// and one host holds few, so that they hold up nobody else's; names are asked of the relay's own resolver.

package import DNS
package import HTTPClient
package import Loop
import Mail
package import NIOPosix

/// A way to send a request and wait for the answer without holding a thread.
package struct WebFetch: Sendable {
    private let call: @Sendable (HTTPRequest) async -> Result<HTTPResponse, HTTPError>

    /// - Parameter call: for tests.
    package init(_ call: @escaping @Sendable (HTTPRequest) async -> Result<HTTPResponse, HTTPError>) {
        self.call = call
    }

    /// - Parameters:
    ///   - threads: where requests wait, `count` of them.
    ///   - perHost: threads that one host may hold.
    ///   - resolver: finds hosts of URLs; nil leaves that to the system.
    package init(
        _ client: HTTPClient,
        on threads: NIOThreadPool,
        count: Int = 1,
        perHost: Int = WebQueue.mostPerHost,
        resolver: InForce<any DNS.Resolver>? = nil
    ) {
        let queue = WebQueue(limit: count, perHost: perHost) { request, done in
            threads.submit { state in
                guard case .active = state else {
                    return done(.failure(HTTPError(.broken, "the relay is stopping")))
                }
                do throws(HTTPError) { done(.success(try client.send(request))) } catch { done(.failure(error)) }
            }
        }
        call = { request in
            var request = request
            let begin = ContinuousClock.now
            if let resolver { await Self.find(&request, resolver.current) }
            request.timeout -= ContinuousClock.now - begin
            return await queue.send(request)
        }
    }

    /// Sends a request and waits for the answer.
    package func callAsFunction(_ request: HTTPRequest) async -> Result<HTTPResponse, HTTPError> { await call(request) }

    /// Where the resolver knows nothing the system is asked: behind a proxy there may be no other way.
    private static func find(_ request: inout HTTPRequest, _ resolver: any DNS.Resolver) async {
        guard request.addresses.isEmpty, request.unixSocket == nil, let url = try? WebURL(request.url),
            !url.isLoopback, let host = Domain(url.host), host.literal == nil, IPAddress(host.name) == nil,
            let found = try? await resolver.addresses(of: host, preference: .any).value
        else { return }
        request.knownAddresses = found.prefix(8).map(\.description)
    }
}

// WebFetch.swift — HTTP for tasks: libcurl's blocking calls on threads of their own.

package import HTTPClient
package import NIOPosix

/// A way to send a request and wait for the answer without holding a thread.
package struct WebFetch: Sendable {
    private let call: @Sendable (HTTPRequest) async -> Result<HTTPResponse, HTTPError>

    /// - Parameter call: for tests.
    package init(_ call: @escaping @Sendable (HTTPRequest) async -> Result<HTTPResponse, HTTPError>) {
        self.call = call
    }

    /// - Parameter threads: where requests wait; no more of them run at once than there are threads.
    package init(_ client: HTTPClient, on threads: NIOThreadPool) {
        call = { request in
            let result = try? await threads.runIfActive { () -> Result<HTTPResponse, HTTPError> in
                do throws(HTTPError) { return .success(try client.send(request)) } catch { return .failure(error) }
            }
            return result ?? .failure(HTTPError(.broken, "the relay is stopping"))
        }
    }

    /// Sends a request and waits for the answer.
    package func callAsFunction(_ request: HTTPRequest) async -> Result<HTTPResponse, HTTPError> { await call(request) }
}

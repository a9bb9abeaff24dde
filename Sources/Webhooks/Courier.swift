// Courier.swift — one request to one receiver: address judged, body signed, answer read.
//
// Guarantees: the request ends within the receiver's timeout; no redirect is followed, no proxy is asked; what is read of
// the answer is bounded; no word that comes back holds the URL, which may hold a token.

package import Config
package import DNS
package import Departure
import HTTPClient
package import Loop
package import Mail

/// Carries bodies to receivers.
package struct Courier: Sendable {
    /// What came back.
    package struct Outcome: Hashable, Sendable {
        package let answer: WebhookAnswer
        /// For people: printable, short, without a secret.
        package let words: String
        package let milliseconds: Int64
    }

    /// Bytes of an answer that are read.
    private static let mostAnswerBytes = 16 << 10
    /// Bytes of it that people see.
    private static let mostWords = 200

    private let fetch: WebFetch
    private let resolver: InForce<any DNS.Resolver>

    /// - Parameter fetch: on threads of its own, so that receivers hold up nothing else.
    package init(_ fetch: WebFetch, resolver: InForce<any DNS.Resolver>) {
        self.fetch = fetch
        self.resolver = resolver
    }

    /// Sends a body and waits for the answer.
    package func carry(
        _ body: WebhookBody,
        to endpoint: WebhookSettings.Endpoint,
        at time: Timestamp
    ) async -> Outcome {
        let begin = Uptime.now()
        func outcome(_ answer: WebhookAnswer, _ words: String) -> Outcome {
            let clean = words.utf8.prefix(Self.mostWords).map { (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: " ") }
            let time = Uptime.now().milliseconds - begin.milliseconds
            return Outcome(answer: answer, words: String(decoding: clean, as: UTF8.self), milliseconds: time)
        }
        let url: WebURL
        do throws(HTTPError) { url = try WebURL(endpoint.url) } catch {
            return outcome(.silence(.broken), error.text)
        }
        let addresses: [IPAddress]
        do throws(AddressGuard.Refusal) {
            let resolver = resolver.current
            addresses = try await AddressGuard.addresses(of: url, allowsPrivate: endpoint.allowsPrivate, resolver)
        } catch {
            return outcome(.silence(error.kind == .unresolved ? .unresolved : .address), error.reason)
        }
        var request = HTTPRequest("POST", endpoint.url, body: body.bytes)
        let signature = Signature(id: body.id, at: time, body: body.bytes, keys: endpoint.keys)
        request.headers =
            body.headers.map { ($0.name, $0.value) } + [("User-Agent", "Martlet-Webhooks/1")] + signature.headers
        request.addresses = addresses.map(\.description)
        request.timeout = .seconds(endpoint.timeout)
        request.maxResponseBytes = Self.mostAnswerBytes
        request.cutsLongBody = true
        switch await fetch(request) {
        case .success(let response):
            let retryAfter = response.header("retry-after").flatMap { Self.seconds($0, at: time) }
            return outcome(.status(response.status, retryAfter: retryAfter), response.text)
        case .failure(let error):
            return outcome(.silence(Self.silence(error.kind)), Self.words(error, url))
        }
    }

    /// Seconds, or a date.
    ///
    /// - Source: RFC 9110 §10.2.3
    static func seconds(_ text: String, at now: Timestamp) -> Int64? {
        let text = text.trimmed
        if !text.isEmpty, text.utf8.count <= 18, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            return Int64(text)
        }
        return HTTPDate.timestamp(text).map { max(0, ($0.milliseconds - now.milliseconds + 999) / 1000) }
    }

    private static func silence(_ kind: HTTPError.Kind) -> WebhookAnswer.Silence {
        switch kind {
        case .cannotResolve: .unresolved
        case .cannotConnect: .connect
        case .tls: .tls
        case .timedOut: .timeout
        case .invalidRequest, .tooLarge, .broken: .broken
        }
    }

    /// What went wrong, with the host where libcurl says the whole URL.
    private static func words(_ error: HTTPError, _ url: WebURL) -> String {
        let place = "\(url.isSecure ? "https" : "http")://\(url.host):\(url.port)"
        return error.text.words.map { $0.contains(octets: url.text) ? "\(place):" : String($0) }.joined(separator: " ")
    }
}

/// The one form of dates that HTTP servers send: `Sun, 06 Nov 1994 08:49:37 GMT`.
///
/// - Source: RFC 9110 §5.6.7
enum HTTPDate {
    private static let months = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ]

    static func timestamp(_ text: some StringProtocol) -> Timestamp? {
        let words = text.words
        guard words.count == 6, words[5].isSame(octets: "GMT"), words[1].utf8.count == 2, words[3].utf8.count == 4,
            let month = months.firstIndex(of: words[2].lowercasedASCII)
        else { return nil }
        let number = month + 1 < 10 ? "0\(month + 1)" : "\(month + 1)"
        return Timestamp(rfc3339: "\(words[3])-\(number)-\(words[1])T\(words[4])Z")
    }
}

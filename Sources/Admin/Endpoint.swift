// Endpoint.swift — one operation of the API: what it is called with, what it may be asked by, and the function that answers.

package import Config
import JSON
import Mail
import Storage

/// What kind of body an operation takes.
package enum BodyKind: Hashable, Sendable {
    /// None; one that comes is refused.
    case none
    /// `application/json`; it may be left out.
    case json
    /// `application/merge-patch+json` (RFC 7396), or `application/json` meaning the same.
    case mergePatch
    /// `application/json`, or a table in `text/csv`.
    case table
    /// `message/rfc822` or `application/json`, as large as a message may be.
    case message
    /// A message as another relay had it, as large as a message may be.
    case packed

    var mediaTypes: [String] {
        switch self {
        case .none: []
        case .json: ["application/json"]
        case .mergePatch: ["application/merge-patch+json", "application/json"]
        case .table: ["application/json", CSV.type]
        case .message: ["message/rfc822", "application/json"]
        case .packed: [PackedMessage.mediaType]
        }
    }
}

/// A line of the table of operations.
package struct Endpoint: Sendable {
    /// What answers: called on the connection's thread, which it may block.
    package typealias Handler = @Sendable (AdminRequest, AdminServices) throws(Problem) -> AdminResponse

    /// Bytes of a body that is neither mail nor a whole table.
    static let usualBody = 128 << 10

    package let method: HTTPMethod
    /// `/v1/queue/{id}`: segments in braces are parameters.
    package let path: String
    /// `operationId` in `openapi.yaml`.
    package let operation: String
    /// What a token needs; nil: everybody may ask, or everybody who is let in (`isForCallers`).
    package let scope: AdminSettings.Scope?
    /// Without a scope: whoever asks must be somebody all the same.
    let isForCallers: Bool
    package let body: BodyKind
    /// Bytes that a body other than a message may have; `body_bytes` may say less.
    let bodyBytes: Int
    /// Media types of a successful answer.
    package let produces: [String]
    let handle: Handler
    let segments: [String]

    init(
        _ method: HTTPMethod,
        _ path: String,
        _ operation: String,
        _ scope: AdminSettings.Scope?,
        body: BodyKind = .none,
        atMost bodyBytes: Int = usualBody,
        gives produces: [String] = ["application/json"],
        toCallers isForCallers: Bool = false,
        _ handle: @escaping Handler
    ) {
        self.method = method
        self.path = path
        self.operation = operation
        self.scope = scope
        self.body = body
        self.bodyBytes = bodyBytes
        self.produces = produces
        self.isForCallers = isForCallers
        self.handle = handle
        segments = path.split(octet: "/", omittingEmpty: false).dropFirst().map(String.init)
    }

    /// The parameters when the segments of a path fit; nil when they do not.
    func match(_ path: [String]) -> [String: String]? {
        guard path.count == segments.count else { return nil }
        var parameters: [String: String] = [:]
        for (pattern, segment) in zip(segments, path) {
            if pattern.starts(withOctets: "{") {
                guard !segment.isEmpty else { return nil }
                parameters[String(Substring(pattern.dropping(octets: 1).utf8.dropLast()))] = segment
            } else if !pattern.isSame(octets: segment) {
                return nil
            }
        }
        return parameters
    }
}

/// What a path and method lead to.
struct Match {
    let endpoint: Endpoint
    let parameters: [String: String]

    /// - Throws: 404 for an unknown path, 405 with `Allow` for a known one.
    static func of(_ method: String, _ path: String, in table: [Endpoint] = Endpoints.all) throws(Problem) -> Match {
        let segments = try PathText.segments(of: path)
        var allowed: [String] = []
        var found: [(Endpoint, [String: String])] = []
        for endpoint in table {
            guard let parameters = endpoint.match(segments) else { continue }
            // A path without parameters is more exact: `/v1/queue/flush` is no message.
            if let first = found.first, first.1.count < parameters.count { continue }
            if let first = found.first, first.1.count > parameters.count {
                found = []
                allowed = []
            }
            found.append((endpoint, parameters))
            allowed.append(endpoint.method.rawValue)
        }
        guard !found.isEmpty else { throw Problem(.notFound, "no such path; see /openapi.yaml") }
        let wanted = method == "HEAD" ? "GET" : method
        guard let (endpoint, parameters) = found.first(where: { $0.0.method.rawValue == wanted }) else {
            if allowed.contains(where: { $0 == "GET" }) { allowed.append("HEAD") }
            let list = allowed.joined(separator: ", ")
            throw Problem(.methodNotAllowed, "this path takes \(list)", headers: [HeaderField("Allow", list)])
        }
        return Match(endpoint: endpoint, parameters: parameters)
    }
}

/// Percent-decoding, once, and the refusal of what must not hide behind it.
enum PathText {
    /// The segments of a path.
    ///
    /// An encoded slash is a part of a name (`client 10.0.0.0/8`): the path is split before it is decoded.
    ///
    /// - Throws: 400 for broken escapes, NUL and other control characters, backslashes, dot segments behind a slash of either
    ///   kind, and what is no UTF-8.
    static func segments(of path: String) throws(Problem) -> [String] {
        guard path.starts(withOctets: "/") else { throw Problem(.malformed, "the path must begin with /") }
        var found: [String] = []
        for piece in path.dropping(octets: 1).split(octet: "/", omittingEmpty: false) {
            guard let text = PercentEncoding.decoded(piece) else {
                throw Problem(.malformed, "the path holds a broken escape or bytes that are no UTF-8")
            }
            guard !text.split(octet: "/").contains(where: { $0.isSame(octets: ".") || $0.isSame(octets: "..") }),
                !text.utf8.contains(where: { $0 == 0x5C || $0 < 0x20 || $0 == 0x7F })
            else {
                throw Problem(.malformed, "the path holds a dot segment, a backslash or a control character")
            }
            found.append(text)
        }
        return found
    }

    /// The `name=value` pairs of a query, decoded.
    ///
    /// - Throws: 400 for broken escapes and what is no UTF-8, 422 for control characters.
    static func query(_ pairs: [HeaderField]) throws(Problem) -> [HeaderField] {
        var found: [HeaderField] = []
        for pair in pairs {
            guard let name = PercentEncoding.decoded(pair.name), let value = PercentEncoding.decoded(pair.value) else {
                throw Problem(.malformed, "the query holds a broken escape or bytes that are no UTF-8")
            }
            try JSONObject.check(name, "?", atMost: 256)
            try JSONObject.check(value, "?\(name)", atMost: 8192)
            found.append(HeaderField(name, value))
        }
        return found
    }
}

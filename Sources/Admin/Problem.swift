// Problem.swift — every error of the API as one kind of value: `application/problem+json` (RFC 9457).

package import JSON

/// Why a request was refused.
///
/// Texts say what to do; they hold no paths of this machine, no secrets and nothing of another client's.
package struct Problem: Error, Hashable, Sendable {
    /// The classes of errors; the raw value is the end of `type`, which never changes.
    package enum Kind: String, Hashable, Sendable, CaseIterable {
        case malformed = "malformed-request"
        case unauthorized = "unauthorized"
        case forbidden = "forbidden"
        case notFound = "not-found"
        case methodNotAllowed = "method-not-allowed"
        case notAcceptable = "not-acceptable"
        case conflict = "conflict"
        case readOnly = "config-read-only"
        case pinned = "pinned"
        case gone = "gone"
        case stale = "stale-revision"
        case tooLarge = "too-large"
        case unsupportedType = "unsupported-media-type"
        case misdirected = "misdirected-request"
        case invalid = "invalid"
        case revisionRequired = "revision-required"
        case tooMany = "too-many-requests"
        case internalError = "internal-error"
        case unavailable = "unavailable"

        /// The HTTP status.
        package var status: Int {
            switch self {
            case .malformed: 400
            case .unauthorized: 401
            case .forbidden: 403
            case .notFound: 404
            case .methodNotAllowed: 405
            case .notAcceptable: 406
            case .conflict, .readOnly, .pinned: 409
            case .gone: 410
            case .stale: 412
            case .tooLarge: 413
            case .unsupportedType: 415
            case .misdirected: 421
            case .invalid: 422
            case .revisionRequired: 428
            case .tooMany: 429
            case .internalError: 500
            case .unavailable: 503
            }
        }

        var title: String {
            switch self {
            case .malformed: "The request cannot be read"
            case .unauthorized: "A valid token is needed"
            case .forbidden: "Not allowed"
            case .notFound: "There is no such thing"
            case .methodNotAllowed: "Not with this method"
            case .notAcceptable: "Not available in this format"
            case .conflict: "Not possible in the present state"
            case .readOnly: "The configuration cannot be written"
            case .pinned: "The value is given elsewhere"
            case .gone: "No longer there"
            case .stale: "Somebody changed it meanwhile"
            case .tooLarge: "The body is too large"
            case .unsupportedType: "The body has the wrong type"
            case .misdirected: "Not a name of this server"
            case .invalid: "The request is not valid"
            case .revisionRequired: "If-Match is needed"
            case .tooMany: "Too many requests"
            case .internalError: "Something failed inside"
            case .unavailable: "Not now"
            }
        }
    }

    /// One thing that is wrong: a JSON pointer into the body, or `?name` for a query parameter.
    package typealias Issue = JSONIssue

    package let kind: Kind
    package let detail: String
    package var issues: [Issue]
    /// Further header fields: `Allow`, `Retry-After`, `WWW-Authenticate`, `ETag`.
    package var headers: [HeaderField]
    /// Further members, such as `diff`.
    package var members: [JSON.Member]

    package init(
        _ kind: Kind,
        _ detail: String,
        issues: [Issue] = [],
        headers: [HeaderField] = [],
        members: [JSON.Member] = []
    ) {
        self.kind = kind
        self.detail = detail
        self.issues = issues
        self.headers = headers
        self.members = members
    }

    /// One wrong thing: 422.
    package static func invalid(_ pointer: String, _ code: String, _ message: String) -> Problem {
        Problem([Issue(pointer, code, message)])
    }

    /// The body of the answer.
    func body(requestID: String, path: String) -> JSON {
        var members: [JSON.Member] = [
            JSON.Member("type", .string("urn:martlet:problem:\(kind.rawValue)")),
            JSON.Member("title", .string(kind.title)),
            JSON.Member("status", .count(kind.status)),
            JSON.Member("detail", .string(detail)),
            JSON.Member("instance", .string(path)),
            JSON.Member("request_id", .string(requestID)),
        ]
        if !issues.isEmpty {
            let errors: [JSON] = issues.map {
                ["pointer": .string($0.pointer), "code": .string($0.code), "message": .string($0.message)]
            }
            members.append(JSON.Member("errors", .array(errors)))
        }
        return .object(members + self.members)
    }
}

extension Problem: JSONRefusal {
    /// What is wrong in the body or the query: 422.
    package init(_ issues: [JSONIssue]) {
        let pointer = issues.first?.pointer ?? ""
        let place =
            pointer.utf8.first == UInt8(ascii: "?")
            ? "parameter \(pointer.dropFirst())" : pointer.isEmpty ? "the body" : pointer
        self.init(.invalid, "\(place): \(issues.first?.message ?? "is not valid")", issues: issues)
    }
}

/// The object of a request's body.
typealias JSONObject = ObjectReader<Problem>

/// A line of an HTTP header.
package struct HeaderField: Hashable, Sendable {
    package let name: String
    package let value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

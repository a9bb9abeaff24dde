// AdminRequest.swift — a request as the handlers see it: decoded once, checked, with its caller.

package import Config
import JSON
package import Mail

/// The methods of the API; HEAD is a GET whose body is not sent.
package enum HTTPMethod: String, Hashable, Sendable {
    case get = "GET"
    case put = "PUT"
    case post = "POST"
    case patch = "PATCH"
    case delete = "DELETE"
}

/// Who asks, as far as the door found out.
package struct Caller: Hashable, Sendable {
    /// What was shown.
    package enum Proof: Hashable, Sendable {
        /// Nothing: the socket's file, or this machine, was enough.
        case none
        /// A token, by its SHA-256.
        case token([UInt8])
        /// The cookie of a ``BrowserSession``, by its id.
        case session(String)
    }

    /// The token's name, `socket`, `loopback` or `anonymous`.
    package let name: String
    package let scopes: Set<AdminSettings.Scope>
    /// nil on the Unix socket.
    package let address: IPAddress?
    package let proof: Proof

    package init(name: String, scopes: Set<AdminSettings.Scope>, address: IPAddress?, by proof: Proof = .none) {
        self.name = name
        self.scopes = scopes
        self.address = address
        self.proof = proof
    }

    package static let nobody = Caller(name: "anonymous", scopes: [], address: nil)
}

/// A request with its whole body.
package struct AdminRequest: Sendable {
    package let method: HTTPMethod
    /// As it was sent, without the query.
    package let path: String
    /// The `{name}` parts of the path, decoded.
    package var parameters: [String: String] = [:]
    /// `name=value` of the query, decoded, in order.
    package var query: [HeaderField] = []
    /// Names in lower case.
    package var headers: [String: String] = [:]
    /// The body's bytes, until ``json()`` has read them.
    package var body: [UInt8] {
        get { content.bytes }
        nonmutating set { content.bytes = newValue }
    }
    let content: RequestBody
    /// Values that the body may hold as JSON.
    var mostValues = 100_000
    package var caller = Caller.nobody
    /// Another node asks: the answer is of this one alone.
    var isErrand = false
    /// The id of the message that it hands in, where that is known before.
    var message: PreparedMessage?
    package let id: String
    private let claim: RequestClaim?

    /// - Parameter claim: what the memory of the request is counted in; nil: in nothing.
    package init(_ method: HTTPMethod, _ path: String, id: String = "test", claim: RequestClaim? = nil) {
        self.method = method
        self.path = path
        self.id = id
        self.claim = claim
        content = RequestBody(claim)
    }

    /// Asks for memory before it is spent.
    ///
    /// - Throws: 503 when there is none.
    func reserve(_ bytes: Int) throws(Problem) {
        guard claim?.pay(bytes) ?? true else { throw AdminDesk.noMemory() }
    }

    /// A header field, by its name in lower case.
    package func header(_ name: String) -> String? { headers[name] }

    /// The media type of the body, in lower case and without parameters; nil when none is named.
    var mediaType: String? {
        headers["content-type"].map { text in
            let type = text.split(octet: ";", maxSplits: 1, omittingEmpty: false).first ?? ""
            return type.words.joined().lowercasedASCII
        }
    }

    /// A part of the path that must be there, because the table of operations says so.
    func parameter(_ name: String) -> String { parameters[name] ?? "" }

    // MARK: - Query

    /// Refuses query parameters that the operation does not have, and those given twice without being lists.
    func allowQuery(_ names: Set<String>, lists: Set<String> = []) throws(Problem) {
        var seen: Set<String> = []
        for field in query {
            guard names.contains(field.name) || lists.contains(field.name) else {
                let known = names.union(lists).sorted().joined(separator: ", ")
                throw Problem.invalid(
                    "?\(field.name)",
                    "unknown",
                    known.isEmpty ? "this operation has no parameters" : "unknown; there are \(known)"
                )
            }
            guard seen.insert(field.name).inserted || lists.contains(field.name) else {
                throw Problem.invalid("?\(field.name)", "duplicate", "given twice")
            }
        }
    }

    /// The value of a query parameter.
    func value(_ name: String) -> String? { query.first { $0.name == name }?.value }

    /// All values of a query parameter.
    func values(_ name: String) -> [String] { query.filter { $0.name == name }.map(\.value) }

    /// A number in the query.
    func number(_ name: String, _ range: ClosedRange<Int>) throws(Problem) -> Int? {
        guard let text = value(name) else { return nil }
        guard text.utf8.count <= 18, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(text),
            range.contains(number)
        else {
            throw Problem.invalid(
                "?\(name)",
                "range",
                "must be a number from \(range.lowerBound) to \(range.upperBound)"
            )
        }
        return number
    }

    /// A truth in the query.
    func flag(_ name: String) throws(Problem) -> Bool {
        switch value(name) {
        case nil, "false": return false
        case "true": return true
        default: throw Problem.invalid("?\(name)", "type", "must be true or false")
        }
    }

    // MARK: - Body

    /// The body as JSON; its bytes are let go.
    func json() throws(Problem) -> JSON {
        let (bytes, release) = content.take()
        defer { release() }
        guard !bytes.isEmpty else { throw Problem(.malformed, "the body is missing: this operation takes JSON") }
        // Strings take what they have as text; around them the smallest values are thirty times as large as their text.
        let memory = bytes.count + min(32 * bytes.count, 256 * mostValues) + 1 << 16
        do throws(JSONError) {
            return try JSON(parsing: bytes, within: JSONBounds(values: mostValues, memory: memory, purse: claim))
        } catch {
            switch error.cause {
            case .syntax: throw Problem(.malformed, "the body is no JSON: \(error)")
            case .bounds: throw Problem(.tooLarge, "the body holds too much: \(error)")
            case .memory: throw AdminDesk.noMemory()
            }
        }
    }

    /// The body as an object with known members; an empty body is an empty object.
    func object() throws(Problem) -> JSONObject {
        content.isEmpty ? JSONObject([], at: "") : try JSONObject(json(), at: "")
    }

    /// Whether the client takes this media type.
    func accepts(_ type: String) -> Bool {
        guard let accept = headers["accept"], !accept.isEmpty else { return true }
        return quality(of: type, in: accept) > 0
    }

    /// Whether the client names the type itself and prefers it to another.
    func prefers(_ type: String, to other: String) -> Bool {
        guard let accept = headers["accept"], accept.lowercasedASCII.contains(octets: type) else { return false }
        return quality(of: type, in: accept) >= quality(of: other, in: accept)
    }

    /// RFC 9110 §12.5.1: the most specific range counts.
    private func quality(of type: String, in accept: String) -> Double {
        let family = type.split(octet: "/").first.map { "\($0)/*" } ?? ""
        var best = (specific: -1, quality: 0.0)
        for item in accept.lowercasedASCII.split(octet: ",") {
            let parts = item.split(octet: ";").map { $0.words.joined() }
            guard let range = parts.first else { continue }
            let specific = range == type ? 2 : range == family ? 1 : range == "*/*" ? 0 : -1
            guard specific > best.specific else { continue }
            let q = parts.dropFirst().compactMap { $0.rest(behind: "q=") }.first.flatMap { Double($0) } ?? 1
            best = (specific, q)
        }
        return best.specific < 0 ? 0 : best.quality
    }
}

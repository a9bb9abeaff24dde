// AdminDesk.swift — what happens to a request between the door and its handler: framing, route, caller, body, answer. No sockets.
//
// Order of the refusals: a request that can be read in two ways (400), no way in (401), no such operation (404, 405), not
// allowed (403), then everything about the body before a byte of it is taken (400, 413, 415, 406).

import Config
import JSON
import Log
import Loop
import Mail
import OpenSSL
import Synchronization

/// The head of a request as the library hands it over.
package struct RequestHead: Sendable {
    package var method: String
    /// Without the query, not decoded.
    package var path: String
    /// The request line or a header field holds a NUL, behind which there is more than is known here.
    package var isCut = false
    /// Not decoded.
    package var query: [HeaderField] = []
    package var fields: [HeaderField] = []

    package init(
        method: String,
        path: String,
        isCut: Bool = false,
        query: [HeaderField] = [],
        fields: [HeaderField] = []
    ) {
        self.method = method
        self.path = path
        self.isCut = isCut
        self.query = query
        self.fields = fields
    }
}

/// A request whose head was accepted and whose body may come.
package struct OpenRequest: Sendable {
    let endpoint: Endpoint
    package var request: AdminRequest
    /// Bytes that its body may have.
    package let bodyLimit: Int
}

/// What a head came to.
package struct Opening: Sendable {
    package let id: String
    package let result: Result<OpenRequest, Problem>
    /// What every answer to it says besides: to browsers.
    var headers: [HeaderField] = []
    /// The answer that needs no operation: to a browser that asks before it sends.
    var preflight: AdminResponse?
    /// A body follows.
    package let hasBody: Bool
    /// The operation, for metrics; empty when there is none.
    package let operation: String
}

/// Takes requests to their handlers.
package struct AdminDesk: Sendable {
    /// Room for JSON around a message, and for its base64.
    private static let envelope = 1 << 16
    /// JSON values of a body that is no message.
    private static let usualValues = 200_000
    /// What is answered also where there is no seat left.
    private static let probes: Set<String> = ["/livez", "/readyz"]

    package let services: AdminServices
    let guardian: TokenGuard
    let keys: IdempotencyKeys
    let table: [Endpoint]

    package init(
        services: AdminServices,
        guardian: TokenGuard,
        keys: IdempotencyKeys,
        table: [Endpoint] = Endpoints.all
    ) {
        self.services = services
        self.guardian = guardian
        self.keys = keys
        self.table = table
    }

    /// Looks at the head of a request.
    func open(
        _ head: RequestHead,
        by door: TokenGuard.Approach,
        at place: AdminConnections.Place,
        now: Uptime,
        wall: Timestamp
    ) -> Opening {
        var id = Self.makeID()
        var hasBody = Self.announcesBody(head)
        var operation = ""
        var crossOrigin: [HeaderField] = []
        func opening(_ result: Result<OpenRequest, Problem>, preflight: AdminResponse? = nil) -> Opening {
            Opening(
                id: id,
                result: result,
                headers: crossOrigin,
                preflight: preflight,
                hasBody: hasBody,
                operation: operation
            )
        }
        do throws(Problem) {
            guard place == .seat || place == .standing && Self.probes.contains(head.path) else {
                throw Problem(
                    .unavailable,
                    place == .none ? "the relay is stopping" : "too many connections at once",
                    headers: [HeaderField("Retry-After", "1")]
                )
            }
            guard !head.isCut else { throw Problem(.malformed, "the request line or a header field holds a NUL") }
            let headers = try FramingGuard.check(head.fields)
            hasBody = headers["transfer-encoding"] != nil || (headers["content-length"].map { $0 != "0" } ?? false)
            if let given = headers["x-request-id"], Self.isID(given) { id = given }
            let origins = services.settings.inForce.ask { $0.admin.allowedOrigins }
            crossOrigin = CrossOrigin.fields(headers, allowed: origins)
            if let answer = CrossOrigin.preflight(head.method, headers, allowed: origins) {
                return opening(.failure(Problem(.methodNotAllowed, "no such method")), preflight: answer)
            }
            let match = Self.result { () throws(Problem) in try Match.of(head.method, head.path, in: table) }
            let need = Self.need(match)
            let caller = try guardian.admit(door, headers, to: need, by: head.method, now: now, wall: wall)
            let found = try match.get()
            operation = found.endpoint.operation
            let method = found.endpoint.method
            var request = AdminRequest(method, head.path, id: id, claim: RequestClaim(services.memory))
            request.parameters = found.parameters
            request.headers = headers
            request.caller = caller
            request.query = try PathText.query(head.query)
            request.mostValues = mostValues(found.endpoint)
            let limit = bodyLimit(found.endpoint, request)
            try Self.checkBody(found.endpoint, request, hasBody: hasBody, limit: limit)
            return opening(.success(OpenRequest(endpoint: found.endpoint, request: request, bodyLimit: limit)))
        } catch {
            if error.kind == .unauthorized { tellRefused(head, by: door, id) }
            return opening(.failure(error))
        }
    }

    /// Whether a body follows, as far as a head says that was not looked at yet.
    private static func announcesBody(_ head: RequestHead) -> Bool {
        head.fields.contains { field in
            let name = field.name.lowercasedASCII
            return name == "transfer-encoding" || name == "content-length" && field.value != "0"
        }
    }

    /// A line for whoever came with a wrong token; after thirty of a client ``TokenGuard`` looks at none, and nothing is
    /// written (whoever brings no token at all is told so, and that is all).
    private func tellRefused(_ head: RequestHead, by door: TokenGuard.Approach, _ id: String) {
        guard head.fields.contains(where: { $0.name.lowercasedASCII == "authorization" }) else { return }
        services.log.write(.notice, "API token refused") { line in
            if case .tcp(let client?, _) = door { line.add(.client, client.addressLiteral) }
            line.add(.path, head.path)
            line.add(.request, id)
        }
    }

    /// Runs the handler; blocks the connection's thread and nothing else.
    package func answer(_ open: OpenRequest) -> AdminResponse {
        do throws(Problem) {
            let response = try respond(open)
            if open.request.method != .get { services.live.hurry() }
            return Self.notModified(response, open.request) ?? response
        } catch {
            return refuse(error, open.request.id, open.request.path)
        }
    }

    /// The answer for something that went wrong.
    package func refuse(_ problem: Problem, _ id: String, _ path: String) -> AdminResponse {
        AdminResponse.bytes(
            problem.body(requestID: id, path: path).bytes,
            "application/problem+json",
            status: problem.kind.status,
            headers: problem.headers
        )
    }

    private func respond(_ open: OpenRequest) throws(Problem) -> AdminResponse {
        let request = open.request
        guard request.method == .post, let key = request.header("idempotency-key") else {
            return try carryOut(open.endpoint, request)
        }
        return try keys.once(key, request) { (name, fingerprint) throws(Problem) in
            try onceOfAll(name, fingerprint, open.endpoint, request)
        }
    }

    /// Here, or where the mail is that it is about.
    func carryOut(_ endpoint: Endpoint, _ request: AdminRequest) throws(Problem) -> AdminResponse {
        if let answer = try Courier.answer(endpoint, request, services) { return answer }
        return try endpoint.handle(request, services)
    }

    /// What another node asks, and the answer, as they are carried.
    ///
    /// Blocks.
    package func answer(errand question: [UInt8]) -> [UInt8] { Errand.serve(question, self) }

    /// 304 for a GET whose answer the client has.
    private static func notModified(_ response: AdminResponse, _ request: AdminRequest) -> AdminResponse? {
        guard request.method == .get, !response.tellsMoreThanItsTag, let wanted = request.header("if-none-match"),
            let tag = response.headers.first(where: { $0.name == "ETag" })?.value
        else { return nil }
        // Weakly compared: the tag counts, and not how it is marked.
        let isKnown = wanted == "*" || EntityTags.list(wanted)?.contains { $0.text == tag } ?? false
        guard isKnown else { return nil }
        let kept = response.headers.filter { $0.name == "ETag" || $0.name == "Cache-Control" }
        return AdminResponse(304, headers: kept)
    }

    // MARK: - The head

    private static func need(_ match: Result<Match, Problem>) -> TokenGuard.Need {
        switch match {
        case .failure: .token
        case .success(let found):
            found.endpoint.scope.map { .scope($0) } ?? (found.endpoint.isForCallers ? .token : .nothing)
        }
    }

    private static func result<Value>(_ body: () throws(Problem) -> Value) -> Result<Value, Problem> {
        do throws(Problem) { return .success(try body()) } catch { return .failure(error) }
    }

    private func bodyLimit(_ endpoint: Endpoint, _ request: AdminRequest) -> Int {
        let settings = services.settings.current
        let largest = settings.listener.messageBytes
        // Of each recipient there may be an address, what it was called before, and what was last said to it.
        if endpoint.body == .packed { return largest + 4096 * settings.listener.recipients + Self.envelope }
        guard endpoint.body == .message else { return min(endpoint.bodyBytes, settings.admin.bodyBytes) }
        // Base64 makes three bytes four, and JSON may escape some of the rest.
        return request.mediaType == "message/rfc822" ? largest : largest + largest / 2 + Self.envelope
    }

    /// JSON values of a body: addresses three times, and all that stands around a message.
    private func mostValues(_ endpoint: Endpoint) -> Int {
        guard endpoint.body == .message else { return Self.usualValues }
        return 4 * services.settings.current.listener.recipients + 2000
    }

    private static func checkBody(
        _ endpoint: Endpoint,
        _ request: AdminRequest,
        hasBody: Bool,
        limit: Int
    ) throws(Problem) {
        if let text = request.header("content-length"), let length = Int(text), length > limit {
            throw tooLarge(limit)
        }
        guard endpoint.produces.contains(where: { request.accepts($0) }) else {
            throw Problem(.notAcceptable, "this is available as \(endpoint.produces.joined(separator: ", "))")
        }
        guard hasBody else { return }
        let types = endpoint.body.mediaTypes
        guard !types.isEmpty else { throw Problem(.malformed, "this operation takes no body") }
        guard let type = request.mediaType, types.contains(type) else {
            throw Problem(
                .unsupportedType,
                "Content-Type must be \(types.joined(separator: " or "))",
                headers: [
                    HeaderField(request.method == .patch ? "Accept-Patch" : "Accept", types.joined(separator: ", "))
                ]
            )
        }
        guard request.header("content-encoding").map({ $0.lowercasedASCII == "identity" }) ?? true else {
            throw Problem(.unsupportedType, "Content-Encoding is not understood; send the body as it is")
        }
    }

    /// 503: the memory for mail is used up.
    static func noMemory() -> Problem {
        Problem(
            .unavailable,
            "there is no memory for the request now; memory_for_mail in smtp.ini bounds it",
            headers: [HeaderField("Retry-After", "2")]
        )
    }

    /// 413.
    package static func tooLarge(_ limit: Int) -> Problem {
        Problem(.tooLarge, "the body may have \(limit) bytes")
    }

    // MARK: - Ids

    private static func isID(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
    }

    private static func makeID() -> String {
        let text = String(UInt64.random(in: 0 ... .max), radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }
}

// ACMEClient.swift — gets a certificate from an authority (RFC 8555): account, order, challenges, certificate.
//
// Blocks, for a thread made for it. Guarantees: it ends (each wait has a bound); it goes by https, or stays on this machine,
// wherever the authority sends it; what the authority says of a failure is in the error; challenges that were opened are closed.

import HTTPClient
import JSON
import Mail
package import OpenSSL

/// One certificate from one authority.
package final class ACMEClient {
    private struct Directory {
        let account, order: String
        let needsBinding: Bool
        let hasTerms: Bool
        /// Where it says when a certificate should be renewed; nil: it does not.
        let renewal: String?
    }

    /// Times that a nonce may be refused, and that something unfinished is looked at.
    private static let mostNonces = 5, mostLooks = 60
    /// Seconds between two looks.
    private static let looks = 1...30
    private static let usualLook = 2

    private let terms: ACMETerms
    private let world: ACMEWorld
    private let account: AccountKey
    private let challenger: Challenger
    private var nonce: String?
    private var accountURL: String?
    private var nonceURL = ""

    package init(_ terms: ACMETerms, _ account: AccountKey, _ challenger: Challenger, _ world: ACMEWorld) {
        (self.terms, self.account, self.challenger, self.world) = (terms, account, challenger, world)
    }

    /// Gets the certificate with those that lead to its authority, as PEM.
    ///
    /// - Parameters:
    ///   - key: the certificate's, ECDSA P-256.
    ///   - old: what the authority calls the one whose place it takes; nil: it takes none's.
    /// - Throws: why there is none.
    package func certificate(for key: SigningKey, replacing old: String? = nil) throws(ACMEError) -> [UInt8] {
        let directory = try self.directory()
        try openAccount(directory)
        let made = try ordered(directory, replacing: directory.renewal == nil ? nil : old)
        let place = try url(made.response.header("location"), "the order")
        var order = made.value
        for authorization in order["authorizations"]?.elements ?? [] {
            try authorize(try url(authorization.string, "an authorization"))
        }
        order = try wait(place, while: ["pending"], order)
        if order["status"]?.string == "ready" {
            let finalize = try url(order["finalize"]?.string, "the end of the order")
            let request: [UInt8]
            do throws(TLSError) { request = try CertificateRequest.der(for: terms.names, key) } catch {
                throw ACMEError("the request cannot be made: \(error.reason)")
            }
            order = try post(["csr": .string(Base64.urlEncode(request))], to: finalize).value
        }
        order = try wait(place, while: ["ready", "processing"], order)
        guard order["status"]?.string == "valid" else {
            throw ACMEError("the order is \(Self.shown(order["status"])): \(Self.words(order["error"]))")
        }
        return try post(nil, to: try url(order["certificate"]?.string, "the certificate"), isPEM: true).response.body
    }

    /// When the authority wants a certificate renewed, and after how many seconds it wants to be asked again.
    ///
    /// - Parameter name: what it calls the certificate.
    /// - Returns: nil where it has no opinion.
    /// - Source: RFC 9773
    package func window(of name: String) throws(ACMEError) -> (window: RenewalWindow?, retryAfter: Int?) {
        guard let place = try directory().renewal else { return (nil, 86_400) }
        let response = try send(HTTPRequest("GET", "\(place)/\(name)"))
        guard response.status == 200 else { throw Self.problem(response) }
        let retryAfter = response.header("retry-after").flatMap { Int($0) }
        return (RenewalWindow(Self.json(response)), retryAfter)
    }

    // MARK: - The steps

    /// Orders a certificate in the place of another; where that has a successor already, in nobody's.
    private func ordered(
        _ directory: Directory,
        replacing old: String?
    ) throws(ACMEError) -> (response: HTTPResponse, value: JSON) {
        let identifiers = terms.names.map { JSON.object(of: [("type", "dns"), ("value", .string($0))]) }
        var wish: JSON = ["identifiers": .array(identifiers)]
        guard let old else { return try post(wish, to: directory.order) }
        wish["replaces"] = .string(old)
        do throws(ACMEError) {
            return try post(wish, to: directory.order)
        } catch {
            guard error.kind == "alreadyReplaced" || error.kind == "malformed" else { throw error }
            return try post(["identifiers": .array(identifiers)], to: directory.order)
        }
    }

    private func directory() throws(ACMEError) -> Directory {
        let response = try send(HTTPRequest("GET", try url(terms.directory, "acme_directory")))
        guard response.status == 200, let value = Self.json(response) else {
            throw ACMEError("\(terms.directory) answered \(response.status) and nothing that describes an authority")
        }
        nonceURL = try url(value["newNonce"]?.string, "newNonce")
        return Directory(
            account: try url(value["newAccount"]?.string, "newAccount"),
            order: try url(value["newOrder"]?.string, "newOrder"),
            needsBinding: value["meta"]?["externalAccountRequired"]?.bool ?? false,
            hasTerms: value["meta"]?["termsOfService"]?.string != nil,
            renewal: value["renewalInfo"] == nil ? nil : try url(value["renewalInfo"]?.string, "renewalInfo")
        )
    }

    private func openAccount(_ directory: Directory) throws(ACMEError) {
        if directory.hasTerms, !terms.agrees {
            throw ACMEError("the authority has terms of service: read them, and set acme_terms_agreed = true")
        }
        if directory.needsBinding, terms.binding == nil {
            throw ACMEError("the authority wants acme_eab_id and acme_eab_key_file")
        }
        var value: JSON = ["termsOfServiceAgreed": .bool(terms.agrees)]
        if let contact = terms.contact { value["contact"] = .strings(["mailto:\(contact)"]) }
        if let binding = terms.binding {
            value["externalAccountBinding"] = account.bind(to: binding, url: directory.account)
        }
        // 200 for one that is there already (RFC 8555 §7.3.1).
        let made = try post(value, to: directory.account)
        accountURL = try url(made.response.header("location"), "the account")
    }

    private func authorize(_ place: String) throws(ACMEError) {
        let found = try post(nil, to: place).value
        if found["status"]?.string == "valid" { return }
        let name = found["identifier"]?["value"]?.string ?? ""
        guard terms.names.contains(where: { $0.isSame(octets: name) || $0.isSame(octets: "*.\(name)") }) else {
            throw ACMEError("the authority wants a proof for a name that was not asked for")
        }
        let offered = found["challenges"]?.elements ?? []
        guard let challenge = offered.first(where: { $0["type"]?.string == terms.challenge.rawValue }) else {
            throw ACMEError("the authority takes no \(terms.challenge.rawValue) for \(name)")
        }
        let answer = try url(challenge["url"]?.string, "the challenge")
        guard let token = challenge["token"]?.string, Self.isToken(token) else {
            throw ACMEError("the authority's challenge has no token")
        }
        let value = terms.challenge == .http ? account.authorization(token) : account.record(token)
        try challenger.open(name, token, value)
        defer { challenger.close(name, token, value) }
        _ = try post([:], to: answer)
        let end = try wait(place, while: ["pending", "processing"], found)
        guard end["status"]?.string == "valid" else {
            let failed = end["challenges"]?.elements.first { $0["error"] != nil }
            throw ACMEError(
                "\(name) is not proved: \(Self.words(failed?["error"] ?? end["error"]))",
                kind: "unauthorized"
            )
        }
    }

    /// Looks at something until it is in another state.
    private func wait(_ place: String, while states: [String], _ first: JSON) throws(ACMEError) -> JSON {
        var value = first
        var pause = Self.usualLook
        for _ in 0..<Self.mostLooks {
            guard let state = value["status"]?.string, states.contains(where: { $0.isSame(octets: state) }) else {
                return value
            }
            world.pause(pause)
            let found = try post(nil, to: place)
            value = found.value
            let wanted = found.response.header("retry-after").flatMap { Int($0) } ?? Self.usualLook
            pause = min(max(wanted, Self.looks.lowerBound), Self.looks.upperBound)
        }
        throw ACMEError("the authority does not come to an end: it is still \(Self.shown(value["status"]))")
    }

    /// RFC 8555 §8.1: base64url; it becomes part of a path and the name of a file.
    private static func isToken(_ text: String) -> Bool {
        (1...200).contains(text.utf8.count)
            && text.utf8.allSatisfy { octet in
                (0x30...0x39).contains(octet) || (0x41...0x5A).contains(octet) || (0x61...0x7A).contains(octet)
                    || octet == UInt8(ascii: "-") || octet == UInt8(ascii: "_")
            }
    }
}

// MARK: - Messages

extension ACMEClient {
    private func post(
        _ payload: JSON?,
        to url: String,
        isPEM: Bool = false
    ) throws(ACMEError) -> (response: HTTPResponse, value: JSON) {
        var problem = ACMEError("the authority takes no nonce")
        for _ in 0..<Self.mostNonces {
            let nonce = try freshNonce()
            let message = try account.sign(payload, url: url, nonce: nonce, account: accountURL)
            var request = HTTPRequest("POST", url, body: Array(message.text.utf8))
            request.headers = [("Content-Type", "application/jose+json")]
            if isPEM { request.headers.append(("Accept", "application/pem-certificate-chain")) }
            let response = try send(request)
            if (200...299).contains(response.status) {
                guard isPEM || Self.json(response) != nil || response.body.isEmpty else {
                    throw ACMEError("the authority answered no JSON")
                }
                return (response, Self.json(response) ?? [:])
            }
            problem = Self.problem(response)
            // RFC 8555 §6.5: once more, with the nonce that came with the refusal.
            guard problem.kind == "badNonce" else { throw problem }
        }
        throw problem
    }

    private func freshNonce() throws(ACMEError) -> String {
        if let nonce {
            self.nonce = nil
            return nonce
        }
        _ = try send(HTTPRequest("HEAD", nonceURL))
        guard let nonce else { throw ACMEError("the authority gives no nonce") }
        self.nonce = nil
        return nonce
    }

    private func send(_ request: HTTPRequest) throws(ACMEError) -> HTTPResponse {
        var request = request
        request.usesProxyOfEnvironment = true
        request.maxResponseBytes = 1 << 20
        request.caFile = terms.caFile
        switch world.send(request) {
        case .failure(let error): throw ACMEError("the authority cannot be reached: \(error.text)")
        case .success(let response):
            if let given = response.header("replay-nonce"), Self.isToken(given) { nonce = given }
            return response
        }
    }

    private func url(_ text: String?, _ what: String) throws(ACMEError) -> String {
        guard let text, let url = try? WebURL(text), url.isConfidential else {
            throw ACMEError("the authority names no https URL for \(what)")
        }
        return text
    }

    private static func json(_ response: HTTPResponse) -> JSON? {
        try? JSON(parsing: response.body, within: JSONBounds(values: 10_000, memory: 4 << 20))
    }

    /// - Source: RFC 8555 §6.7, RFC 9457
    private static func problem(_ response: HTTPResponse) -> ACMEError {
        let value = json(response)
        let kind = value?["type"]?.string.flatMap { $0.split(octet: ":").last.map(String.init) }
        return ACMEError(
            "the authority answered \(response.status): \(words(value))",
            kind: kind,
            retryAfter: response.header("retry-after").flatMap { Int($0) }
        )
    }

    /// A problem in the authority's words, those of its parts included.
    private static func words(_ problem: JSON?) -> String {
        guard let problem else { return "no reason given" }
        let kind = problem["type"]?.string?.split(octet: ":").last.map(String.init) ?? ""
        var parts = ["\(kind) \(problem["detail"]?.string ?? "")"]
        parts += (problem["subproblems"]?.elements ?? []).prefix(5).compactMap { $0["detail"]?.string }
        return shown(.string(parts.joined(separator: "; ").trimmed.description))
    }

    /// Printable.
    private static func shown(_ value: JSON?) -> String {
        let text = value?.string ?? "in no state"
        return String(text.unicodeScalars.prefix(400).map { (0x20...0x7E).contains($0.value) ? Character($0) : "?" })
    }
}

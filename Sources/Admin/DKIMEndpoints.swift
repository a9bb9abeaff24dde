// DKIMEndpoints.swift — keys that sign mail: files below `dkim/`, and their selectors in `dkim.ini`, as JSON.
//
// It is no `ConfigTable`: a key is a file of its own, made before the line that names it and removed behind it, and it is there
// whether or not a line names it.
//
// Guarantees: the private half of a key goes in and never comes out; a key is never replaced by another one of its name,
// because the record in the DNS is about the old one; a selector signs only once its key is on disk.

import Config
import Files
import JSON
import Mail
import OpenSSL

/// Operations on keys of DKIM.
enum DKIMEndpoints {
    private static let file = ConfigFile.dkim
    private static let most = 10_000

    /// `GET /v1/dkim-keys`.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let (_, headers) = try FileEdits.shown(file, services)
        let items = files(services).all(atMost: most).compactMap { view(Name($0.domain, $0.selector), services) }
        return fresh(.listing(items, headers: headers))
    }

    /// `GET /v1/dkim-keys/{domain}/{selector}`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let (_, headers) = try FileEdits.shown(file, services)
        guard let view = view(try name(request), services) else { throw missing }
        return fresh(.json(view, headers: headers))
    }

    /// Keys come and go without a word in `dkim.ini`, whose version the tag is.
    private static func fresh(_ answer: AdminResponse) -> AdminResponse {
        var answer = answer
        answer.tellsMoreThanItsTag = true
        return answer
    }

    /// `PUT /v1/dkim-keys/{domain}/{selector}`: makes a key, or takes one in; or says whether it signs.
    static func put(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
        let name = try name(request)
        let wanted = try wanted(request, name)
        guard files(services).key(name.domain, name.selector) == nil else {
            guard request.header("if-none-match") != "*" else { throw Problem(.stale, "there is such a key already") }
            guard !wanted.givesKey else {
                throw Problem(
                    .conflict,
                    "there is such a key, and its record is about it; make one with another selector"
                )
            }
            return try sign(wanted.signs ?? true, name, request, services, "putDKIMKey", status: 200)
        }
        return try make(wanted, name, request, services)
    }

    /// Makes a key, and lets it sign; of a rehearsal nothing stays.
    private static func make(
        _ wanted: Wanted,
        _ name: Name,
        _ request: AdminRequest,
        _ services: AdminServices
    ) throws(Problem) -> AdminResponse {
        let files = files(services)
        let isRehearsal = try FileEdits.isDryRun(request)
        let key = try wanted.key()
        do throws(DiskError) { try files.write(key, name.domain, name.selector) } catch {
            throw .keyNotWritten(error)
        }
        // Nobody has published it, so nobody misses it.
        var isKept = false
        defer { if !isKept { try? files.remove(name.domain, name.selector) } }
        if isRehearsal || wanted.signs ?? true {
            let signs = wanted.signs ?? true
            let answer = try sign(signs, name, request, services, "putDKIMKey", status: 201, makesKey: true)
            isKept = !isRehearsal
            return answer
        }
        isKept = true
        services.audit(request, Change(operation: "putDKIMKey", subject: "\(name)", after: "signs=false"))
        guard let view = view(name, services) else { throw missing }
        return .json(view, status: 201, headers: [FileEdits.tag(services.settings.revision(file))])
    }

    /// `PATCH /v1/dkim-keys/{domain}/{selector}`: whether it signs.
    static func patch(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
        let name = try name(request)
        let wanted = try wanted(request, name)
        guard files(services).key(name.domain, name.selector) != nil else { throw missing }
        guard !wanted.givesKey else {
            throw Problem(.conflict, "a key is never replaced; make one with another selector")
        }
        let signs = wanted.signs ?? isSigning(name, services)
        return try sign(signs, name, request, services, "editDKIMKey", status: 200)
    }

    /// `DELETE /v1/dkim-keys/{domain}/{selector}`: it signs no longer, and is gone.
    static func remove(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
        let name = try name(request)
        guard files(services).key(name.domain, name.selector) != nil || isSigning(name, services) else { throw missing }
        let edit = try edited(false, name, request, services, "removeDKIMKey")
        if let rehearsal = FileEdits.rehearsal(edit, changesMore: true) { return rehearsal }
        do throws(DiskError) { try files(services).remove(name.domain, name.selector) } catch {
            if !error.isMissing {
                throw Problem(
                    .internalError,
                    "it signs no longer, and its file could not be removed: \(error); remove it below dkim/ in the configuration"
                )
            }
        }
        services.audit(request, Change(operation: "removeDKIMKey", subject: "\(name)"))
        return AdminResponse(204, headers: [FileEdits.tag(edit.revision)])
    }

    // MARK: - Parts

    private struct Name: CustomStringConvertible {
        let domain: Domain
        let selector: String

        init(_ domain: Domain, _ selector: String) { (self.domain, self.selector) = (domain, selector) }

        var description: String { "\(selector)._domainkey.\(domain)" }
    }

    private static func files(_ services: AdminServices) -> DKIMKeyFiles {
        DKIMKeyFiles(services.settings.directory)
    }

    private static func isSigning(_ name: Name, _ services: AdminServices) -> Bool {
        services.settings.current.dkim.keys(of: name.domain, at: .now())?
            .contains { $0.selector.isSame(octets: name.selector) } ?? false
    }

    private static func sign(
        _ signs: Bool,
        _ name: Name,
        _ request: AdminRequest,
        _ services: AdminServices,
        _ operation: String,
        status: Int,
        makesKey: Bool = false
    ) throws(Problem) -> AdminResponse {
        let edit = try edited(signs, name, request, services, operation)
        if let rehearsal = FileEdits.rehearsal(edit, changesMore: makesKey) { return rehearsal }
        if edit.isChanged {
            services.audit(request, Change(operation: operation, subject: "\(name)", after: "signs=\(signs)"))
        }
        guard let view = view(name, services) else { throw missing }
        return .json(view, status: status, headers: [FileEdits.tag(edit.revision)])
    }

    /// Names the selector in its domain's section, or takes it out.
    private static func edited(
        _ signs: Bool,
        _ name: Name,
        _ request: AdminRequest,
        _ services: AdminServices,
        _ operation: String
    ) throws(Problem) -> Edit {
        try FileEdits.edit(file, request, services, operation: operation, key: "\(name)") {
            (document) throws(Problem) in
            let section = document.sections.first { Domain($0) == name.domain } ?? name.domain.name
            let key = document.value("selector", in: section) == nil ? "selectors" : "selector"
            var selectors = (document.value(key, in: section) ?? "").split(octet: ",").map { String($0.trimmed) }
            let isThere = selectors.contains { $0.isSame(octets: name.selector) }
            guard isThere != signs else { return }
            selectors.removeAll { $0.isEmpty || $0.isSame(octets: name.selector) }
            if signs { selectors.append(name.selector) }
            guard !selectors.isEmpty else {
                document.remove(key, in: section)
                return
            }
            let text = selectors.joined(separator: ", ")
            try FileEdits.say("/signs") { () throws(ConfigError) in try document.set(key, to: text, in: section) }
        }
    }

    private static func view(_ name: Name, _ services: AdminServices) -> JSON? {
        guard let key = files(services).key(name.domain, name.selector) else { return nil }
        let record = DKIMRecord(name.domain, name.selector, key)
        var bits: JSON = nil
        var type = "ed25519"
        switch key.kind {
        case .rsa(let count): (type, bits) = ("rsa", .count(count))
        case .ed25519: break
        case .p256: type = "ecdsa"
        }
        return [
            "domain": .string(name.domain.name), "selector": .string(name.selector), "type": .string(type),
            "bits": bits, "signs": .bool(isSigning(name, services)),
            "record": ["name": .string(record.name), "type": "TXT", "value": .string(record.value)],
        ]
    }

    /// What a body says.
    private struct Wanted {
        var signs: Bool?
        var type: String?
        var bits: Int?
        var pem: String?

        var givesKey: Bool { pem != nil }

        /// The key that is to be written.
        func key() throws(Problem) -> SigningKey {
            if let pem {
                let key: SigningKey
                do throws(TLSError) { key = try SigningKey(pem: Array(pem.utf8)) } catch {
                    throw Problem.invalid("/private_key", "format", "is no private key in PEM")
                }
                switch key.kind {
                case .p256:
                    throw Problem.invalid("/private_key", "invalid", "is an ECDSA key; DKIM knows RSA and Ed25519")
                case .rsa(let bits) where bits < 1024:
                    throw Problem.invalid("/private_key", "invalid", "is too short: RFC 8301 asks for 1024 bits")
                case .rsa, .ed25519: return key
                }
            }
            do throws(TLSError) {
                return try SigningKey.generate(type == "ed25519" ? .ed25519 : .rsa(bits: bits ?? 2048))
            } catch {
                throw .keyNotMade(error)
            }
        }
    }

    private static func wanted(_ request: AdminRequest, _ name: Name) throws(Problem) -> Wanted {
        var body = try request.object()
        var wanted = Wanted()
        for member in ["signs", "type", "private_key"] { try body.refuseNull(member) }
        try body.passOverName("domain") { Domain($0) == name.domain }
        try body.passOverName("selector") { $0.isSame(octets: name.selector) }
        try body.passOver("record", "an object") { !$0.members.isEmpty }
        wanted.signs = try body.bool("signs")
        wanted.type = try body.string("type")
        wanted.bits = try body.integer("bits", 1024...8192)
        switch body.take("private_key") {
        case nil: break
        case .string(let text)? where text.utf8.count <= 32_768 && !text.utf8.contains(0): wanted.pem = text
        case _?: throw Problem.invalid("/private_key", "type", "must be a private key in PEM, as a string")
        }
        try body.finish()
        if let type = wanted.type, !["rsa", "ed25519"].contains(type) {
            throw Problem.invalid("/type", "enum", "is neither rsa nor ed25519")
        }
        return wanted
    }

    private static func name(_ request: AdminRequest) throws(Problem) -> Name {
        let domain = try domain(request)
        let selector = request.parameter("selector")
        guard DKIMSettings.isSelector(selector) else {
            throw .badName("selector", "a selector has lower-case letters, digits and hyphens")
        }
        return Name(domain, selector)
    }

    /// The domain in the path.
    static func domain(_ request: AdminRequest) throws(Problem) -> Domain {
        guard let domain = Domain(request.parameter("domain")), domain.literal == nil else {
            throw .badName("domain", "a domain is a name such as example.org, and no address")
        }
        return domain
    }

    private static let missing = Problem.missing("key", in: "/v1/dkim-keys")
}

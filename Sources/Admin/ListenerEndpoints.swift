// ListenerEndpoints.swift — where clients come in: `listen` and `smtps_listen` of `smtp.ini` as JSON.
//
// Those of `[listener NAME]` are shown, and changed in the file: a section has more to say than where it listens.
// A change is on disk when it is answered, and the relay moves at once: sessions that stand are kept. An address that cannot be
// had is refused, and nothing is written. Where systemd or root bound the sockets a change counts from the next start, as one of
// the file does, and the log says so.

import Config
import JSON
import Mail

/// Operations on listeners.
enum ListenerEndpoints {
    private static let file = ConfigFile.listener
    /// The keys of the file, by the word for how a session begins.
    private static let keys = [(tls: "starttls", key: "listen"), (tls: "implicit", key: "smtps_listen")]

    /// `GET /v1/listeners`.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let (_, headers) = try FileEdits.shown(file, services)
        return .listing(everywhere(services).map { view($0, services) }, headers: headers)
    }

    /// `GET /v1/listeners/{address}`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let (_, headers) = try FileEdits.shown(file, services)
        let address = try address(request)
        guard let found = everywhere(services).first(where: { $0.address == address }) else { throw missing }
        return .json(view(found, services), headers: headers)
    }

    /// `PUT /v1/listeners/{address}`.
    static func put(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try change(request, services, "putListener") { $1 ?? keys[0].tls }
    }

    /// `PATCH /v1/listeners/{address}`.
    static func patch(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try change(request, services, "editListener") { (old, given) throws(Problem) in
            guard let old else { throw missing }
            return given ?? old
        }
    }

    /// `DELETE /v1/listeners/{address}`.
    static func remove(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
        let address = try address(request)
        let edit = try FileEdits.edit(file, request, services, operation: "remove listener", key: "\(address)") {
            (document) throws(Problem) in
            let all = listeners(in: document)
            guard all.contains(where: { $0.address == address }) else { throw elsewhere(address, services) ?? missing }
            guard all.count > 1 else { throw Problem(.conflict, "it is the last one: nobody could hand in mail") }
            try write(all.filter { $0.address != address }, to: &document)
        }
        if let rehearsal = FileEdits.rehearsal(edit) { return rehearsal }
        services.audit(request, Change(operation: "removeListener", subject: "\(address)"))
        return AdminResponse(204, headers: [FileEdits.tag(edit.revision)])
    }

    // MARK: - Parts

    private typealias Listener = (address: ListenAddress, tls: String)

    /// One that clients come in at.
    private struct Place {
        let address: ListenAddress
        let tls: String
        /// `[listener NAME]`; nil: the keys of `[main]`.
        let section: String?
    }

    /// Those of the file's own keys, then those of each `[listener NAME]`.
    private static func everywhere(_ services: AdminServices) -> [Place] {
        let settings = services.settings.current.listener
        return listeners(settings).map { Place(address: $0.address, tls: $0.tls, section: nil) }
            + settings.sections.flatMap { section in
                section.listen.map { Place(address: $0, tls: keys[0].tls, section: section.name) }
                    + section.smtpsListen.map { Place(address: $0, tls: keys[1].tls, section: section.name) }
            }
    }

    /// Why an address cannot be changed here: a section has it, with words of its own; nil: none has.
    private static func elsewhere(_ address: ListenAddress, _ services: AdminServices) -> Problem? {
        everywhere(services).first { $0.address == address && $0.section != nil }.flatMap(\.section).map { section in
            Problem(.conflict, "\(address) is one of [listener \(section)] of smtp.ini; change it there")
        }
    }

    private static func listeners(_ settings: ListenerSettings) -> [Listener] {
        settings.listen.map { ($0, keys[0].tls) } + settings.smtpsListen.map { ($0, keys[1].tls) }
    }

    /// Those of a file, which may say more than what is in force; without a key its default.
    private static func listeners(in document: INIDocument) -> [Listener] {
        var settings = ListenerSettings()
        func addresses(_ key: String) -> [ListenAddress]? {
            document.value(key, in: nil).map { $0.split(octet: ",").compactMap { ListenAddress($0.trimmed) } }
        }
        settings.listen = addresses(keys[0].key) ?? settings.listen
        settings.smtpsListen = addresses(keys[1].key) ?? settings.smtpsListen
        return listeners(settings)
    }

    /// - Parameter body: how sessions are to begin, of what holds now and of what was given.
    private static func change(
        _ request: AdminRequest,
        _ services: AdminServices,
        _ operation: String,
        _ body: (String?, String?) throws(Problem) -> String
    ) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
        let address = try address(request)
        guard address.ip.isUnspecified || services.settings.isLocal(address.ip) else {
            throw Problem.invalid("/address", "invalid", "\(address.ip) is not an address of this machine")
        }
        let given = try given(request, address)
        if let problem = elsewhere(address, services) { throw problem }
        var (isNew, tls) = (false, keys[0].tls)
        let edit = try FileEdits.edit(file, request, services, operation: operation, key: "\(address)") {
            (document) throws(Problem) in
            var all = listeners(in: document)
            let index = all.firstIndex { $0.address == address }
            guard index == nil || request.header("if-none-match") != "*" else {
                throw Problem(.stale, "there is such a listener already")
            }
            isNew = index == nil
            tls = try body(index.map { all[$0].tls }, given)
            if let index { all[index].tls = tls } else { all.append((address, tls)) }
            try write(all, to: &document)
            if isNew, let obstacle = services.obstacle(address, address.isV6Only(among: all.map(\.address))) {
                throw Problem(.conflict, "nobody can listen on \(address): \(obstacle); nothing was changed")
            }
        }
        if let rehearsal = FileEdits.rehearsal(edit) { return rehearsal }
        if edit.isChanged {
            services.audit(request, Change(operation: operation, subject: "\(address)", after: "tls=\(tls)"))
        }
        return .json(
            view(Place(address: address, tls: tls, section: nil), services),
            status: isNew ? 201 : 200,
            headers: [FileEdits.tag(edit.revision)]
        )
    }

    /// A key that says the same already is not touched.
    private static func write(_ all: [Listener], to document: inout INIDocument) throws(Problem) {
        for (tls, key) in keys {
            let wanted = all.filter { $0.tls.isSame(octets: tls) }.map(\.address)
            let known = document.value(key, in: nil).map { $0.split(octet: ",").map { ListenAddress($0.trimmed) } }
            if let known, known == wanted.map(Optional.some) { continue }
            guard !wanted.isEmpty || known != nil || key.isSame(octets: "listen") else { continue }
            let text = wanted.map(\.description).joined(separator: ", ")
            try FileEdits.say("/address") { () throws(ConfigError) in try document.set(key, to: text, in: nil) }
        }
    }

    private static func given(_ request: AdminRequest, _ address: ListenAddress) throws(Problem) -> String? {
        var body = try request.object()
        try body.refuseNull("address")
        try body.refuseNull("tls")
        if let text = try body.string("address"), ListenAddress(text) != address {
            throw Problem.invalid("/address", "exclusive", "is another address than the path's")
        }
        try body.passOver("origin", "file, default or environment") {
            ["file", "default", "environment"].contains($0.string)
        }
        try body.passOver("section", "a string or null") { $0 == .null || $0.string != nil }
        let tls = try body.string("tls")
        try body.finish()
        if let tls, !keys.contains(where: { $0.tls.isSame(octets: tls) }) {
            throw Problem.invalid("/tls", "enum", "is neither starttls nor implicit")
        }
        return tls
    }

    private static func view(_ place: Place, _ services: AdminServices) -> JSON {
        let key = keys.first { $0.tls.isSame(octets: place.tls) }?.key ?? "listen"
        let section = place.section.map { "listener \($0)" }
        let isPinned = services.settings.environment.pin(key, in: section, of: file.name) != nil
        let isSaid = section != nil || services.settings.says(key, file)
        return [
            "address": .string("\(place.address)"), "tls": .string(place.tls),
            "origin": .string(isPinned ? "environment" : isSaid ? "file" : "default"),
            "section": .optional(place.section),
        ]
    }

    private static func address(_ request: AdminRequest) throws(Problem) -> ListenAddress {
        guard let address = ListenAddress(request.parameter("address")), address.port > 0 else {
            throw Problem(
                .invalid,
                "a listener is an address with a port, such as 127.0.0.1:2525 or [::1]:2525",
                issues: [Problem.Issue("/address", "format", "is no such address")]
            )
        }
        return address
    }

    private static let missing = Problem(.notFound, "there is no such listener")
}

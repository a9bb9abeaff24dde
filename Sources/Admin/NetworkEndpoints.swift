// NetworkEndpoints.swift — who may relay by address: lines of `relay_acl_allow` as JSON.

import Config
import JSON
import Mail

/// Operations on `relay_acl_allow`.
enum NetworkEndpoints {
    private static let file = ConfigFile.relayNetworks

    /// `GET /v1/networks`.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let (entries, headers) = try table(services)
        return .json(
            [
                "items": .array(entries.map { view($0, services) }), "next": nil, "total": .count(entries.count),
                "total_exact": true,
            ],
            headers: headers
        )
    }

    /// `GET /v1/networks/{network}`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let network = try network(request)
        let (entries, headers) = try table(services)
        guard let entry = entries.first(where: { RelayNetworks.isSame($0.network, network) }) else { throw missing }
        return .json(view(entry, services), headers: headers)
    }

    /// `PUT /v1/networks/{network}`: its clients may relay from now on.
    static func put(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try change(request, services, "putNetwork") { (old, given) in given ?? .some(nil) }
    }

    /// `PATCH /v1/networks/{network}`: its comment.
    static func patch(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try change(request, services, "editNetwork") { (old, given) throws(Problem) in
            guard let old else { throw missing }
            return given ?? .some(old.comment)
        }
    }

    /// `DELETE /v1/networks/{network}`.
    static func remove(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
        let network = try network(request)
        try refusePinned(services)
        let edit = try FileEdits.edit(file, request, services, operation: "remove network", key: "\(network)") {
            (document) throws(Problem) in
            let text = document.text.isEmpty ? Self.text(of: services.settings.current.relayNetworks) : document.text
            guard let left = RelayNetworks.removing(network, from: text) else { throw missing }
            document = INIDocument(parsing: left)
        }
        if let rehearsal = FileEdits.rehearsal(edit) { return rehearsal }
        services.audit(request, Change(operation: "removeNetwork", subject: "\(network)"))
        return AdminResponse(204, headers: [FileEdits.tag(edit.revision)])
    }

    // MARK: - Parts

    /// - Parameter body: the comment there is to be, of the line as it was and of what was given; nil where nothing was.
    private static func change(
        _ request: AdminRequest,
        _ services: AdminServices,
        _ operation: String,
        _ body: (RelayNetworks.Entry?, String??) throws(Problem) -> String??
    ) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
        let network = try network(request)
        guard network.prefix > 0 else {
            throw Problem.invalid(
                "/network",
                "forbidden",
                "lets everybody relay; if that is meant, write it into the file"
            )
        }
        try refusePinned(services)
        let given = try comment(request, network)
        var before: RelayNetworks.Entry?
        let edit = try FileEdits.edit(file, request, services, operation: operation, key: "\(network)") {
            (document) throws(Problem) in
            let seed = services.settings.current.relayNetworks
            let old = document.text.isEmpty ? Self.text(of: seed) : document.text
            before = RelayNetworks.entries(in: old).first { RelayNetworks.isSame($0.network, network) }
            guard before == nil || request.header("if-none-match") != "*" else {
                throw Problem(.stale, "the network is there already")
            }
            let entry = RelayNetworks.Entry(before?.network ?? network, comment: try body(before, given) ?? nil)
            var text = document.text
            try FileEdits.say("/comment") { () throws(ConfigError) in
                text = try RelayNetworks.putting(entry, into: text, seed: seed)
            }
            document = INIDocument(parsing: text)
        }
        if let rehearsal = FileEdits.rehearsal(edit) { return rehearsal }
        let entries = RelayNetworks.entries(in: try FileEdits.document(file, services).document.text)
        guard let now = entries.first(where: { RelayNetworks.isSame($0.network, network) }) else { throw missing }
        if edit.isChanged {
            services.audit(request, Change(operation: operation, subject: "\(now.network)", after: now.comment ?? ""))
        }
        return .json(
            view(now, services),
            status: before == nil ? 201 : 200,
            headers: [FileEdits.tag(edit.revision)]
        )
    }

    /// What is said of the comment; nil: nothing.
    private static func comment(_ request: AdminRequest, _ network: IPNetwork) throws(Problem) -> String?? {
        var body = try request.object()
        try body.refuseNull("network")
        if let name = try body.string("network"), IPNetwork(name).map({ RelayNetworks.isSame($0, network) }) != true {
            throw Problem.invalid("/network", "exclusive", "is another network than the path's")
        }
        try body.passOver("origin", "file, default or environment") {
            ["file", "default", "environment"].contains($0.string)
        }
        let isGiven = body.names.contains { $0.isSame(octets: "comment") }
        let comment = try body.string("comment", atMost: 200)
        try body.finish()
        return isGiven ? .some(comment) : nil
    }

    /// The lines of the file; what is in force where there is no file, or a broken one, or a variable in its place.
    private static func table(_ services: AdminServices) throws(Problem) -> ([RelayNetworks.Entry], [HeaderField]) {
        let (document, headers) = try FileEdits.shown(file, services)
        let inForce = services.settings.current.relayNetworks.map { RelayNetworks.Entry($0) }
        guard let document, !document.text.isEmpty, origin(services) == "file" else { return (inForce, headers) }
        return (RelayNetworks.entries(in: document.text), headers)
    }

    private static func text(of networks: [IPNetwork]) -> String { networks.map { "\($0)\n" }.joined() }

    private static func origin(_ services: AdminServices) -> String {
        if services.settings.environment.pin("", in: nil, of: file.name) != nil { return "environment" }
        return services.settings.exists(file) ? "file" : "default"
    }

    private static func view(_ entry: RelayNetworks.Entry, _ services: AdminServices) -> JSON {
        [
            "network": .string("\(entry.network)"), "comment": .optional(entry.comment),
            "origin": .string(origin(services)),
        ]
    }

    private static func refusePinned(_ services: AdminServices) throws(Problem) {
        guard let pin = services.settings.environment.pin("", in: nil, of: file.name) else { return }
        throw Problem(
            .pinned,
            "who may relay is set by the environment variable \(pin.variable), which stands above relay_acl_allow"
        )
    }

    private static func network(_ request: AdminRequest) throws(Problem) -> IPNetwork {
        guard let network = IPNetwork(request.parameter("network")) else {
            throw Problem(
                .invalid,
                "a network is an address, or one such as 192.0.2.0/24 (a slash is %2F in a path)",
                issues: [Problem.Issue("/network", "format", "is no network")]
            )
        }
        return network
    }

    private static let missing = Problem(.notFound, "there is no such network")
}

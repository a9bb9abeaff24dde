// ListenerEndpoints.swift — where clients come in: `listen` and `smtps_listen` of `smtp.ini` as JSON.
//
// Those of `[listener NAME]` are shown, and changed in the file: a section has more to say than where it listens.
// A change is on disk when it is answered, and the relay moves at once: sessions that stand are kept. An address that cannot be
// had is refused, and nothing is written. Where systemd or root bound the sockets a change counts from the next start, as one of
// the file does, and the log says so.

import Config
import JSON
import Mail

/// Operations on listeners: `/v1/listeners`.
enum ListenerEndpoints: ConfigTable {
    static let file = ConfigFile.listener
    static let words = TableWords(
        noun: "listener",
        missing: .missing("listener", in: "/v1/listeners"),
        taken: "there is such a listener already"
    )
    /// The keys of the file, by the word for how a session begins.
    private static let keys = [(tls: "starttls", key: "listen"), (tls: "implicit", key: "smtps_listen")]

    /// One that clients come in at.
    struct Place {
        let address: ListenAddress
        let tls: String
        /// `[listener NAME]`; nil: the keys of `[main]`.
        let section: String?
    }

    /// Those of the file's own keys, then those of each `[listener NAME]`, as they are in force.
    static func rows(_ document: INIDocument?, _ settings: Settings, _ services: AdminServices) -> [Place] {
        let settings = settings.listener
        return listeners(settings).map { Place(address: $0.address, tls: $0.tls, section: nil) }
            + settings.sections.flatMap { section in
                section.listen.map { Place(address: $0, tls: keys[0].tls, section: section.name) }
                    + section.smtpsListen.map { Place(address: $0, tls: keys[1].tls, section: section.name) }
            }
    }

    static func isNamed(_ row: Place, _ key: ListenAddress) -> Bool { row.address == key }

    static func has(_ key: ListenAddress, _ document: INIDocument, _ services: AdminServices) -> Bool {
        listeners(in: document).contains { $0.address == key }
    }

    /// A section has words of its own.
    static func allowChange(_ key: ListenAddress, _ services: AdminServices) throws(Problem) {
        guard let section = row(key, nil, services.settings.current, services)?.section else { return }
        throw Problem(.conflict, "\(key) is one of [listener \(section)] of smtp.ini; change it there")
    }

    static func write(
        _ draft: inout String?,
        _ key: ListenAddress,
        over old: Place?,
        isPatch: Bool,
        to document: inout INIDocument,
        _ services: AdminServices
    ) throws(Problem) {
        var all = listeners(in: document)
        if let index = all.firstIndex(where: { $0.address == key }) {
            all[index].tls = draft ?? (isPatch ? all[index].tls : keys[0].tls)
            return try write(all, to: &document)
        }
        all.append((key, draft ?? keys[0].tls))
        try write(all, to: &document)
        if let obstacle = services.obstacle(key, key.isV6Only(among: all.map(\.address))) {
            throw Problem(.conflict, "nobody can listen on \(key): \(obstacle); nothing was changed")
        }
    }

    static func erase(
        _ key: ListenAddress,
        from document: inout INIDocument,
        _ services: AdminServices
    ) throws(Problem) -> Bool {
        let all = listeners(in: document)
        guard all.contains(where: { $0.address == key }) else { return false }
        guard all.count > 1 else {
            throw Problem(.conflict, "it is the last one: nobody could hand in mail; add another one first")
        }
        try write(all.filter { $0.address != key }, to: &document)
        return true
    }

    static func logged(_ row: Place) -> String { "tls=\(row.tls)" }

    // MARK: - Parts

    private typealias Listener = (address: ListenAddress, tls: String)

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

    /// How sessions begin; nil: nothing is said of it.
    static func draft(
        _ request: AdminRequest,
        _ address: ListenAddress,
        isPatch: Bool,
        _ services: AdminServices
    ) throws(Problem) -> String? {
        guard address.ip.isUnspecified || services.settings.isLocal(address.ip) else {
            throw Problem.invalid("/address", "invalid", "\(address.ip) is not an address of this machine")
        }
        var body = try request.object()
        try body.passOverName("address") { ListenAddress($0) == address }
        try body.refuseNull("tls")
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

    static func view(_ place: Place, _ services: AdminServices) -> JSON {
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

    static func key(_ request: AdminRequest) throws(Problem) -> ListenAddress {
        guard let address = ListenAddress(request.parameter("address")), address.port > 0 else {
            throw .badName("address", "a listener is an address with a port, such as 127.0.0.1:2525 or [::1]:2525")
        }
        return address
    }
}

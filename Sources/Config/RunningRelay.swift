// RunningRelay.swift — what a running relay leaves in its data directory for the tools: where it listens, where its socket
// is and what it is called. What it was told to do, and what the system made of it, can differ: ports that the system
// chose, sockets of systemd, variables that only the relay has.
//
// Anybody may read it: `sendmail` is for every user of the machine. It is read as something from outside.

package import Files
package import Mail

/// A relay of this machine, as its tools see it.
package struct RunningRelay: Hashable, Sendable {
    /// The file's name in the data directory.
    package static let file = "running"
    private static let largest = 64 << 10

    /// `me`.
    package var name: Domain
    /// Where it speaks SMTP, and SMTP with TLS from the first octet.
    package var smtp: [ListenAddress] = []
    package var smtps: [ListenAddress] = []
    /// Where its API listens.
    package var api: [ListenAddress] = []
    package var apiHasTLS = false
    /// The API's Unix socket, below the data directory unless absolute; nil: there is none.
    package var socket: String?

    package init(name: Domain) { self.name = name }

    // MARK: - As text

    /// The lines of the file.
    package var text: String {
        func list(_ addresses: [ListenAddress]) -> String { addresses.map(\.description).joined(separator: ", ") }
        return """
            ; Left by the relay that runs here, for its tools; written at every start, gone after a stop.
            name = \(name)
            smtp = \(list(smtp))
            smtps = \(list(smtps))
            api = \(list(api))
            api_tls = \(apiHasTLS)
            socket = \(socket ?? "")

            """
    }

    /// Reads the lines of the file.
    ///
    /// - Returns: nil when it is not what a relay leaves.
    package init?(_ text: String) {
        let document = INIDocument(parsing: text)
        guard let name = document.value("name", in: nil).flatMap({ Domain($0) }) else { return nil }
        self.init(name: name)
        func list(_ key: String) -> [ListenAddress]? {
            let words = GivenText.words(document.value(key, in: nil) ?? "")
            let addresses = words.compactMap { ListenAddress($0) }
            return addresses.count == words.count ? addresses : nil
        }
        guard let smtp = list("smtp"), let smtps = list("smtps"), let api = list("api") else { return nil }
        (self.smtp, self.smtps, self.api) = (smtp, smtps, api)
        apiHasTLS = document.value("api_tls", in: nil)?.isSame(octets: "true") ?? false
        let socket = document.value("socket", in: nil) ?? ""
        self.socket = socket.isEmpty ? nil : socket
    }

    // MARK: - On disk

    /// What the relay of a data directory left; nil when none runs, or we may not look.
    package static func read(in data: String, _ disk: any Disk) -> RunningRelay? {
        guard let bytes = try? disk.contents(of: "\(data)/\(file)", limit: largest),
            let text = String(validating: bytes, as: UTF8.self)
        else { return nil }
        return RunningRelay(text)
    }

    /// Leaves it for the tools.
    ///
    /// - Throws: when it cannot be written; what was left before stays.
    package func leave(in data: String, _ disk: any Disk) throws(DiskError) {
        try disk.replace("\(data)/\(Self.file)", with: Array(text.utf8), isPublic: true)
    }

    /// Takes it away: nobody listens any more.
    package static func remove(from data: String, _ disk: any Disk) { try? disk.unlink("\(data)/\(file)") }

    // MARK: - Questions

    /// Where a process on this machine hands mail in, and whether with TLS from the first octet; nil: nowhere.
    package var submission: (address: ListenAddress, isTLS: Bool)? {
        if let address = Self.nearest(smtp) { return (address, false) }
        return Self.nearest(smtps).map { ($0, true) }
    }

    /// Where a process on this machine reaches the API over TCP; nil: nowhere.
    package var apiAddress: ListenAddress? { Self.nearest(api) }

    /// The path of the API's socket; nil: there is none.
    package func socketPath(in data: String) -> String? {
        socket.map { $0.starts(withOctets: "/") ? $0 : "\(data)/\($0)" }
    }

    /// Loopback before every address of the machine, which loopback is one of, before others.
    private static func nearest(_ addresses: [ListenAddress]) -> ListenAddress? {
        if let loopback = addresses.first(where: { $0.ip.isLoopback }) { return loopback }
        guard let any = addresses.first(where: { $0.ip.isUnspecified }) else { return addresses.first }
        return IPAddress(any.ip.isV6 ? "::1" : "127.0.0.1").map { ListenAddress(ip: $0, port: any.port) }
    }
}

extension SettingsReader {
    /// What a relay would leave that started with this configuration, as far as we may read it.
    ///
    /// Each file is asked for by itself: those with passwords are closed to ordinary users.
    package func expectedRelay() -> RunningRelay {
        var warnings: [ConfigError] = []
        var relay = RunningRelay(name: (try? name()) ?? HostName.valid(HostName.ofMachine()))
        let listener = (try? keyed(ListenerSettings.self, &warnings)) ?? ListenerSettings()
        (relay.smtp, relay.smtps) = (listener.plainPlaces, listener.securePlaces)
        let admin = (try? text(AdminSettings.file)).flatMap { text in
            text.flatMap { try? AdminSettings.readWithTokens(INIDocument(parsing: $0), warnings: &warnings) }
        }
        let known = admin ?? AdminSettings()
        (relay.api, relay.apiHasTLS, relay.socket) = (known.listen, known.certificate != nil, known.socket)
        return relay
    }
}

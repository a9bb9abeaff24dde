// ClientChoice.swift — which clients a setting is about, by listener or by network: `lenient` of `smtp.ini`, `clients` of
// `milters.ini`.

package import Mail

/// Clients that a setting is about: nobody, until somebody says so; not even loopback.
package struct ClientChoice: Hashable, Sendable, CustomStringConvertible {
    /// `true`: all clients.
    package var isForAll = false
    /// Clients in these.
    package var networks: [IPNetwork] = []
    /// Clients that come in here.
    package var places: [ListenAddress] = []

    package init() {}

    package var description: String {
        if isForAll { return "true" }
        return (networks.map(\.description) + places.map(\.description)).joined(separator: ", ")
    }

    /// Reads `127.0.0.0/8, [::1], 127.0.0.1:2525`: networks, and listeners, which have a port; or `true`, or `false`.
    static func read(_ text: String) throws(ValueError) -> ClientChoice {
        var found = ClientChoice()
        if let isForAll = try? ValueParsing.boolean(text) {
            found.isForAll = isForAll
            return found
        }
        if text.lowercasedASCII.isSame(octets: "none") { return found }
        for piece in ValueParsing.list(text) {
            if let network = IPNetwork(piece) {
                found.networks.append(network)
            } else if let place = ListenAddress(piece) {
                found.places.append(place)
            } else {
                throw ValueError(
                    "\"\(ValueParsing.shown(piece))\" is neither a network such as 127.0.0.0/8, nor a listener such as "
                        + "127.0.0.1:2525, nor true"
                )
            }
        }
        return found
    }

    /// Whether a session's client is one of them.
    ///
    /// - Parameters:
    ///   - client: nil when the address could not be told.
    ///   - here: where it came in: our end of its connection; nil when that could not be told.
    ///   - listeners: every place that is listened to.
    package func includes(_ client: IPAddress?, at here: ListenAddress?, among listeners: [ListenAddress]) -> Bool {
        if isForAll { return true }
        if let client, networks.contains(where: { $0.contains(client) }) { return true }
        guard let here else { return false }
        return places.contains { $0.takes(here, among: listeners) }
    }
}

extension SettingsReader {
    /// `smtp.ini`, and what it says of lenience that nobody can have meant.
    func readListener(_ warnings: inout [ConfigError]) throws(ConfigErrors) -> ListenerSettings {
        let listener = try keyed(ListenerSettings.self, &warnings)
        func warn(_ reason: String) { warnings.append(ConfigError(file: ListenerSettings.file, reason: reason)) }
        for place in listener.proxy where !listener.everywhere.contains(place) {
            warn("proxy names \(place), and nothing listens there but a socket of systemd, if there is one")
        }
        if !listener.proxy.isEmpty, listener.proxyNetworks.isEmpty {
            warn("proxy lets nobody in: proxy_networks names no balancer")
        }
        let trusted = [
            ("proxy", listener.proxyNetworks), ("xclient", listener.xclientNetworks),
            ("xforward", listener.xforwardNetworks),
        ]
        for (name, networks) in trusted where networks.contains(where: { $0.prefix == 0 }) {
            warn("\(name)_networks is everybody: each client says for itself who it is, which decides who may relay")
        }
        for place in listener.lenient.places where !listener.everywhere.contains(place) {
            warn("lenient names \(place), and nothing listens there but a socket of systemd, if there is one")
        }
        for section in listener.sections where section.everywhere.isEmpty {
            warn("[listener \(section.name)] has no listen and no smtps_listen, so nobody comes in there")
        }
        if listener.lenient.isForAll || listener.lenient.networks.contains(where: { $0.prefix == 0 }) {
            warn("lenient is for everybody: name the networks or listeners of the clients that need it")
        }
        return listener
    }
}

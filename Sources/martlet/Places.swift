// Places.swift — where clients connect, as the settings or systemd's sockets say it.

import Config
import Ingest
import Process

extension HeldSockets {
    /// Where clients connect.
    var addresses: [ListenAddress] { held.compactMap(Listener.Place.init).map(\.address) }
}

extension Listener.Place {
    /// - Returns: nil for what is no address of ours.
    init?(_ held: HeldSockets.Held) {
        guard let address = ListenAddress(held.place) else { return nil }
        self.init(address, held.isTLS ? .implicitTLS : .plain)
    }
}

extension ListenerSettings {
    /// Where clients connect.
    var places: [Listener.Place] {
        let all = everywhere
        return plainPlaces.map { Listener.Place($0, .plain, isV6Only: $0.isV6Only(among: all)) }
            + securePlaces.map { Listener.Place($0, .implicitTLS, isV6Only: $0.isV6Only(among: all)) }
    }
}

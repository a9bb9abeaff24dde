// AdminServer.swift — the API's listeners together: TCP addresses and the Unix socket, started, swept and stopped.

package import Config
package import Files
package import Mail

/// The admin API as the relay holds it.
package final class AdminServer: Sendable {
    /// What a finished request was, for metrics.
    package struct Observation: Sendable {
        /// `operationId`; empty when the path is unknown.
        package let operation: String
        package let method: String
        package let status: Int
        package let milliseconds: Int64
    }

    /// Called after every request, on its connection's thread.
    package struct Observer: Sendable {
        let call: @Sendable (Observation) -> Void

        package init(_ call: @escaping @Sendable (Observation) -> Void) { self.call = call }
    }

    private let doors: [AdminDoor]
    /// Where it listens, for the log: `127.0.0.1:8025`, `unix:…`.
    package let addresses: [String]
    /// The same as values: TCP addresses with the ports in use, and the Unix socket as `admin.ini` writes it.
    package let tcp: [ListenAddress]
    package let socket: String?
    /// What was asked for in vain and is no reason not to start.
    package let complaints: [String]

    /// Listens everywhere that `admin.ini` says.
    ///
    /// - Parameters:
    ///   - data: the data directory, for the socket.
    ///   - tls: certificate and key in PEM, for the TCP listeners.
    /// - Throws: when an address cannot be had that somebody asked for, or one that is not loopback has no token to guard it.
    package init(
        _ settings: AdminSettings,
        desk: AdminDesk,
        data: String,
        disk: any Disk,
        tls: (certificate: [UInt8], key: [UInt8])?,
        observe: Observer
    ) throws(ListenFailure) {
        var doors: [AdminDoor] = []
        var addresses: [String] = []
        var (tcp, unix): ([ListenAddress], String?) = ([], nil)
        var complaints: [String] = []
        do throws(ListenFailure) {
            for address in settings.listen {
                do throws(ListenFailure) {
                    let (door, port) = try Self.door(address, settings, desk, tls, observe)
                    doors.append(door)
                    let isProxied = settings.proxy.contains(address)
                    // Tools of this machine speak HTTP from the first octet on.
                    if !isProxied { tcp.append(ListenAddress(ip: address.ip, port: port)) }
                    addresses.append("\(ListenAddress(ip: address.ip, port: port))")
                } catch {
                    guard error.isTaken, !settings.isListenGiven else { throw error }
                    complaints.append("\(error); the API is at its Unix socket only")
                }
            }
            if let name = settings.socket {
                let path = name.starts(withOctets: "/") ? name : "\(data)/\(name)"
                do throws(ListenFailure) {
                    let socket = try AdminSocket(path: path, mode: settings.socketMode, data: data, disk: disk)
                    doors.append(
                        try AdminDoor(socket, .unix, desk: desk, settings: settings, tls: nil, observe: observe)
                    )
                    addresses.append("unix:\(path)")
                    unix = name
                } catch {
                    complaints.append("\(error)")
                }
            }
        } catch {
            for door in doors { door.stop() }
            throw error
        }
        (self.doors, self.addresses, self.complaints) = (doors, addresses, complaints)
        (self.tcp, socket) = (tcp, unix)
    }

    /// Listens on an address.
    private static func door(
        _ address: ListenAddress,
        _ settings: AdminSettings,
        _ desk: AdminDesk,
        _ tls: (certificate: [UInt8], key: [UInt8])?,
        _ observe: Observer
    ) throws(ListenFailure) -> (AdminDoor, port: UInt16) {
        // Who comes through a balancer may be anybody.
        let isProxied = settings.proxy.contains(address)
        let isLoopback = address.ip.isLoopback && !isProxied
        guard isLoopback || desk.guardian.hasTokens else {
            throw ListenFailure(
                description:
                    "\(address) is reachable from other machines and there is no token; martlet token create makes one",
                isTaken: false
            )
        }
        let socket = try AdminSocket(address, among: settings.listen)
        let door = try AdminDoor(
            socket,
            .tcp(isLoopback: isLoopback),
            desk: desk,
            settings: settings,
            balancers: isProxied ? settings.proxyNetworks : nil,
            tls: tls,
            observe: observe
        )
        return (door, socket.port)
    }

    /// Once a second: ends connections that are too slow.
    package func sweep(at now: Uptime) { for door in doors { door.connections.sweep(at: now) } }

    /// Connections open now.
    package var connectionCount: Int { doors.reduce(0) { $0 + $1.connections.count } }

    /// Answers what is under way and ends.
    ///
    /// Blocks for as long as the slowest handler.
    package func stop() {
        for door in doors { door.close() }
        for door in doors { door.stop() }
    }
}

// SmartHost.swift — `MARTLET_SMARTHOST_…` and its names elsewhere, read into hosts and a port as values.
//
// Host and port are never joined as text: `2001:db8::25` and `587` are an address and a number, and `[2001:db8::25]:587`
// is only how `routes.ini` writes the two.

import Mail

/// A host of the smart host's list.
struct SmartHost: Hashable {
    enum Name: Hashable {
        case address(IPAddress)
        case domain(Domain)
    }

    let name: Name
    var port: UInt16?

    /// As an `mx` line has it.
    var written: String {
        let host =
            switch name {
            case .address(let address): address.bracketed
            case .domain(let domain): domain.name
            }
        return port.map { "\(host):\($0)" } ?? host
    }

    /// Reads one host: `host`, `host:587`, `[host]`, `[host]:587`, an address of either family, bare or in brackets.
    ///
    /// - Throws: ``ValueError``, which does not repeat the value.
    init(_ text: String) throws(ValueError) {
        if let address = IPAddress(text) {
            (name, port) = (.address(address), nil)
            return
        }
        let (host, digits) = try Self.parts(text)
        port = try digits.map { digits throws(ValueError) in try Self.port(digits) }
        if let address = IPAddress(host) ?? IPAddress(literal: "[\(host)]") {
            name = .address(address)
        } else if let domain = Domain(host), domain.literal == nil {
            name = .domain(domain)
        } else {
            throw ValueError(
                "is no host; write host, host:port, [host]:port, an address, or several of them between commas"
            )
        }
    }

    /// Reads a port.
    ///
    /// - Throws: ``ValueError``, which does not repeat the value.
    static func port(_ text: String) throws(ValueError) -> UInt16 {
        let digits = text.trimmed
        guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = UInt16(digits), number > 0 else {
            throw ValueError("the port is no number from 1 to 65535")
        }
        return number
    }

    /// The host without its brackets, and what stands behind its colon.
    private static func parts(_ text: String) throws(ValueError) -> (host: String, port: String?) {
        guard text.starts(withOctets: "[") else {
            let pieces = text.split(octet: ":", omittingEmpty: false)
            guard pieces.count <= 2 else {
                throw ValueError("is neither host:port nor an address of IPv6, which takes its port as [address]:port")
            }
            return (String(pieces[0]), pieces.count == 2 ? String(pieces[1]) : nil)
        }
        let pieces = text.dropping(octets: 1).split(octet: "]", omittingEmpty: false)
        guard pieces.count == 2 else { throw ValueError("has brackets that do not match") }
        guard !pieces[1].isEmpty else { return (String(pieces[0]), nil) }
        guard let port = pieces[1].rest(behind: ":") else { throw ValueError("has something else than :port behind ]") }
        return (String(pieces[0]), String(port))
    }

    /// Reads a list, as Postfix's `relayhost` may be one, with the port of a variable of its own.
    ///
    /// - Parameters:
    ///   - port: of the variable; it must not contradict a port that stands at a host.
    ///   - hasLogin: a login goes to the submission port when no port is said.
    /// - Throws: ``ValueError``, which does not repeat the value.
    static func list(_ text: String, port: UInt16?, hasLogin: Bool) throws(ValueError) -> [SmartHost] {
        var hosts: [SmartHost] = []
        for word in GivenText.words(text) {
            var host = try SmartHost(word)
            if let own = host.port, let port, own != port {
                throw ValueError("says port \(own), and the variable for the port says \(port)")
            }
            host.port = host.port ?? port ?? (hasLogin ? 587 : nil)
            hosts.append(host)
        }
        guard !hosts.isEmpty else { throw ValueError("names no host") }
        return hosts
    }
}

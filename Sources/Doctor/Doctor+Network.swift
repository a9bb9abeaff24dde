// Doctor+Network.swift — the way out: ports that a provider blocks, IPv6 without a route, the smart host.

import Config
import DNS
import Departure
import Mail

extension Doctor {
    /// Milliseconds to wait for connections, all of them together.
    private static let patience: Int32 = 5000

    /// Ports 25, 465 and 587, of each family that the probed host has and this machine has a route for.
    static func network(_ patient: Patient, _ resolver: any Resolver) async -> [Finding] {
        var findings: [Finding] = []
        if !AddressOrder.hasIPv6Route() {
            findings.append(
                Finding(.odd, "IPv6", "this machine has no route: only IPv4 is used", "Fine, unless you expected IPv6.")
            )
        }
        guard patient.probe != "none", let host = Domain(patient.probe) else { return findings }
        let addresses = (try? await resolver.addresses(of: host, preference: .any))?.value ?? []
        guard !addresses.isEmpty else {
            return findings + [Finding(.skipped, "ports", "\(patient.probe) has no address to try")]
        }
        let families = [addresses.first { !$0.isV6 }, addresses.first { $0.isV6 && AddressOrder.hasIPv6Route() }]
        let places = families.compactMap(\.self).flatMap { address in
            [25, 465, 587].map { ListenAddress(ip: address, port: UInt16($0)) }
        }
        let reached = Probe.connect(places, within: patience)
        for (place, trouble) in zip(places, reached) where place.port == 25 || trouble == nil {
            let family = place.ip.isV6 ? "IPv6" : "IPv4"
            findings.append(
                Finding(
                    trouble == nil ? .good : patient.settings.routes.hasSmartHost ? .odd : .bad,
                    "port \(place.port), \(family)",
                    trouble.map { "\(patient.probe) [\(place.ip)]: \($0)" } ?? "open",
                    "The provider of this machine blocks it: ask for it to be opened, or send through a smart host."
                )
            )
        }
        return findings
    }

    /// Next hops that are visited.
    private static let mostVisits = 20

    /// Each host of `[*]`, and each that mail is handed to with a login: as a delivery would, up to the first MAIL.
    static func smartHosts(_ patient: Patient, _ visit: Visit) async -> [Finding] {
        var findings: [Finding] = []
        for mx in patient.settings.routes.smartHosts.prefix(mostVisits) {
            switch await visit(mx) {
            case nil: break
            case .success(let impression)?: findings += judge(impression, mx)
            case .failure(let error)?:
                findings.append(Finding(.bad, "smart host", "\(mx): \(error.reply)", remedy(for: error.stage)))
            }
        }
        return findings
    }

    /// We were let in; how well protected, and as whom, is the question.
    private static func judge(_ impression: Impression, _ mx: MX) -> [Finding] {
        if let api = mx.api {
            // What a visit proves is that there is a token; a key is looked at with the first mail.
            let user = mx.auth?.user ?? ""
            return [Finding(.good, "smart host", "mail is posted to \(api.base) over HTTPS, as \(user)")]
        }
        let channel = impression.security.map(\.description) ?? "in the clear"
        var words = "\(impression.peer) answers, \(channel)"
        switch impression.foundBy {
        case .hosts, .search: words += ", its name found by \(impression.foundBy.map(\.description) ?? "")"
        case .literal, .dns, nil: break
        }
        guard let user = mx.auth?.user else { return [Finding(.good, "smart host", words)] }
        if let reason = impression.withoutLogin {
            return [
                Finding(
                    .odd,
                    "smart host",
                    "\(words); mail is sent without the login of \(user): \(reason)",
                    "Correct the port or tls of the route, or take auth_user out of it."
                )
            ]
        }
        words += ", \(user) may log in"
        let isHere = mx.hasNoAddress || IPAddress(mx.exchange)?.isLoopback == true
        if isHere || (impression.security?.trust ?? .none) != .none { return [Finding(.good, "smart host", words)] }
        return [
            Finding(
                .odd,
                "smart host",
                "\(words), and nobody vouches that it is the right server: another could learn the password",
                "Set tls = verify for the route (MARTLET_SMARTHOST_TLS)."
            )
        ]
    }

    /// What helps when a visit ended at a stage.
    private static func remedy(for stage: Failure.Stage) -> String {
        switch stage {
        case .route: "Correct its name in routes.ini (MARTLET_SMARTHOST_HOST)."
        case .connect: "A wrong port, a firewall, or the server is down."
        case .tls: "See tls and implicit_tls of the route (MARTLET_SMARTHOST_TLS), and tls_ca_file in outbound.ini."
        case .auth:
            "Correct auth_user and auth_pass of the route (MARTLET_SMARTHOST_USERNAME, MARTLET_SMARTHOST_PASSWORD)."
        default: "It does not want to talk to this machine: ask those who run it."
        }
    }
}

extension Routes {
    /// The hosts of `[*]`, and those of other sections that want a login; each once.
    fileprivate var smartHosts: [MX] {
        var hosts: [MX] = []
        for (match, route) in all.sorted(by: { $0.key < $1.key }) {
            for mx in route.hosts where (match == "*" || mx.auth != nil) && !hosts.contains(mx) { hosts.append(mx) }
        }
        return hosts
    }

    /// Mail that nothing else is said about does not go to the MX of its domain.
    var hasSmartHost: Bool { route(named: "*")?.isDirect == false }
}

// Explanation.swift — the way a recipient's mail would go, in words for the API: table, DNS, addresses, source, TLS, AUTH, limits.

import Admin
import Config
import DNS
import Delivery
import Departure
import JSON
import Mail
import Queue

/// Asks what delivery would ask, and sends nothing.
struct Explanation: Sendable {
    /// Hosts whose addresses are looked up.
    private static let mostHosts = 10

    let settings: SettingsStore
    let router: Router

    func callAsFunction(_ recipient: EmailAddress, _ sender: ReversePath) async -> JSON {
        let settings = settings.current
        let envelope = Envelope(sender: sender, recipients: [Recipient(recipient)])
        let lane = settings.lane(for: recipient, of: envelope)
        let found = settings.routes.route(for: recipient, from: sender)
        var members: [JSON.Member] = [
            JSON.Member("recipient", .string("\(recipient)")),
            JSON.Member("sender", .string("\(sender)")),
            JSON.Member("route", .optional(found?.match)),
            JSON.Member(
                "asked",
                .array(
                    settings.routes.steps(for: recipient, from: sender).map { step in
                        ["match": .string(step.match), "found": .bool(step.isMatch)]
                    }
                )
            ),
            JSON.Member("next_hop", .string("\(lane)")),
            JSON.Member("disabled", .bool(settings.outbound.isDisabled)),
            JSON.Member(
                "limits",
                [
                    "concurrency_max": .count(settings.outbound.concurrencyMax),
                    "concurrency_per_lane": .count(settings.outbound.concurrencyPerLane),
                ]
            ),
        ]
        do throws(Failure) {
            let route = try await router.route(lane, at: .now())
            var hosts: [JSON] = []
            for mx in route.hosts.prefix(Self.mostHosts) { hosts.append(await host(mx, route, lane, settings)) }
            members.append(JSON.Member("from_table", .bool(route.isFromTable)))
            members.append(JSON.Member("mx", .array(hosts)))
            members.append(JSON.Member("problem", nil))
        } catch {
            members.append(JSON.Member("from_table", .bool(found != nil)))
            members.append(JSON.Member("mx", []))
            members.append(JSON.Member("problem", .string("\(error.reply)")))
        }
        return .object(members)
    }

    private func host(_ mx: MX, _ route: Route, _ lane: Lane, _ settings: Settings) async -> JSON {
        var addresses: [IPAddress] = []
        var problem: String?
        do throws(Failure) {
            addresses = try await router.addresses(of: mx, in: route, from: lane.source).value
        } catch {
            problem = "\(error.reply)"
        }
        let tls = mx.tls?.description ?? (settings.outbound.isTLSEnabled ? "may" : "off")
        return [
            "priority": .count(mx.priority),
            "exchange": .string(mx.exchange),
            "port": .count(mx.port),
            "using_lmtp": .bool(mx.usingLMTP),
            "addresses": .strings(addresses.map { "\($0)" }),
            "problem": .optional(problem),
            "bind": .optional(
                (mx.bind ?? addresses.first.flatMap { lane.source?.address(towards: $0) }).map { "\($0)" }
            ),
            "bind_because": .string(
                mx.bind != nil ? "route" : lane.source != nil ? "outbound_ip" : "operating_system"
            ),
            "helo": .string((mx.bindHelo ?? lane.source?.helo ?? settings.me).name),
            "tls": .string(tls),
            "tls_because": .string(mx.tls != nil ? "route" : "enable_tls"),
            "implicit_tls": .bool(mx.implicitTLS),
            "auth_user": .optional(mx.auth?.user),
            "on_auth_unavailable": .string(mx.onAuthUnavailable.rawValue),
        ]
    }
}

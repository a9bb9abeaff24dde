// NodeEndpoints.swift — the relays that share one queue: who is there, how far each is, and emptying one of them.

import Config
import JSON
import Mail
import Storage

/// Operations on nodes.
enum NodeEndpoints {
    private static let missing = Problem(
        .notFound,
        "there is no such node, or the queue is this relay's alone; GET /v1/nodes shows those that there are"
    )

    /// `GET /v1/nodes`: none where the queue is this relay's alone.
    static func list(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let nodes = try nodes(services)
        return .listing(nodes.map { view($0, among: nodes) })
    }

    /// `POST /v1/nodes/{name}/drain`.
    static func drain(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try change(request, services, "drainNode", isDraining: true)
    }

    /// `POST /v1/nodes/{name}/resume`.
    static func resume(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try change(request, services, "resumeNode", isDraining: false)
    }

    private static func change(
        _ request: AdminRequest,
        _ services: AdminServices,
        _ operation: String,
        isDraining: Bool
    ) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let name = request.parameter("name")
        guard let cluster = services.cluster else { throw missing }
        let isKnown: Bool
        do throws(QueueError) { isKnown = try cluster.drain(name, isDraining) } catch { throw away }
        let nodes = try nodes(services)
        guard isKnown, let node = nodes.first(where: { $0.isAlive && $0.name.isSame(octets: name) })
        else { throw missing }
        services.audit(request, Change(operation: operation, subject: name))
        return .json(view(node, among: nodes))
    }

    private static var away: Problem {
        .databaseAway
    }

    private static func nodes(_ services: AdminServices) throws(Problem) -> [NodeStatus] {
        guard let cluster = services.cluster else { return [] }
        do throws(QueueError) { return try cluster.nodes() } catch { throw away }
    }

    private static func view(_ node: NodeStatus, among nodes: [NodeStatus]) -> JSON {
        let marks = node.config.isEmpty ? nil : ConfigMarks(node.config)
        let own = nodes.first { $0.isThis && !$0.config.isEmpty }.map { ConfigMarks($0.config) }
        return [
            "name": .string(node.name),
            "state": .string(node.isAlive ? node.isDraining ? "draining" : "alive" : "gone"),
            "is_this": .bool(node.isThis),
            "incarnation": .count(Int(node.incarnation)),
            "started_at": .string(node.startedAt.rfc3339),
            "seen_at": .string(node.seenAt.rfc3339),
            "version": .string(node.version),
            "messages": .count(node.messages),
            "config_hash": .optional(marks?.whole),
            "config_differs": .strings(marks.flatMap { marks in own.map { marks.differences(from: $0) } } ?? []),
        ]
    }
}

// NodeEndpoints.swift — the relays that share one queue: who is there, how far each is, and emptying one of them.

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
        return .listing(try nodes(services).map(view))
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
        guard isKnown, let node = try nodes(services).first(where: { $0.isAlive && $0.name.isSame(octets: name) })
        else { throw missing }
        services.audit(request, Change(operation: operation, subject: name))
        return .json(view(node))
    }

    private static var away: Problem {
        .databaseAway
    }

    private static func nodes(_ services: AdminServices) throws(Problem) -> [NodeStatus] {
        guard let cluster = services.cluster else { return [] }
        do throws(QueueError) { return try cluster.nodes() } catch { throw away }
    }

    private static func view(_ node: NodeStatus) -> JSON {
        [
            "name": .string(node.name),
            "state": .string(node.isAlive ? node.isDraining ? "draining" : "alive" : "gone"),
            "is_this": .bool(node.isThis),
            "incarnation": .count(Int(node.incarnation)),
            "started_at": .string(node.startedAt.rfc3339),
            "seen_at": .string(node.seenAt.rfc3339),
            "version": .string(node.version),
            "messages": .count(node.messages),
        ]
    }
}

// SharedOnce.swift — `Idempotency-Key` where several nodes share a queue: the same request to two of them is done once.
//
// A message is one message, whatever dies in between: its id is chosen first, and the key's row has it. Other operations work
// without the database, and are then done once by each node: what stops mail works whatever is away.

import JSON
import Mail
import Queue
import Storage

extension AdminDesk {
    /// Carries a request out that has a key, unless it was carried out already.
    ///
    /// - Parameters:
    ///   - name: a digest of the key and of whose it is.
    ///   - fingerprint: a digest of the request.
    func onceOfAll(
        _ name: String,
        _ fingerprint: String,
        _ endpoint: Endpoint,
        _ request: AdminRequest
    ) throws(Problem) -> AdminResponse {
        guard let cluster = services.cluster else { return try carryOut(endpoint, request) }
        let isMail = endpoint.operation.isSame(octets: "submitMessage")
        var request = request
        if isMail { request.message = .new(services.queue.makeID(at: .now())) }
        let claim: KeyClaim
        do throws(QueueError) {
            claim = try cluster.claim(name, fingerprint, message: request.message?.id)
        } catch {
            guard isMail else { return try carryOut(endpoint, request) }
            throw .databaseAway
        }
        switch claim {
        case .mine: return try keep(name, cluster) { () throws(Problem) in try carryOut(endpoint, request) }
        case .other: throw Problem(.invalid, "this Idempotency-Key was used for another request")
        case .running(let node):
            let place = node.isEmpty ? "" : " on node \(node)"
            throw Problem(
                .conflict,
                "the first request with this Idempotency-Key is still running\(place); ask again in a moment"
            )
        case .answered(let bytes):
            guard let answer = (try? JSON(parsing: bytes)).flatMap({ KeptAnswer($0) }) else { throw .databaseAway }
            return answer.response
        case .accepted(let id):
            request.message = .accepted(id)
            return try keep(name, cluster) { () throws(Problem) in try endpoint.handle(request, services) }
        }
    }

    /// Has all nodes know the answer; a refusal is forgotten, so that the client may try again.
    private func keep(
        _ name: String,
        _ cluster: any Cluster,
        _ body: () throws(Problem) -> AdminResponse
    ) throws(Problem) -> AdminResponse {
        do throws(Problem) {
            let response = try body()
            // Where it cannot be written, the message's own rows say that it was accepted.
            try? cluster.settle(name, KeptAnswer(response)?.json.bytes)
            return response
        } catch {
            try? cluster.settle(name, nil)
            throw error
        }
    }
}

/// The id of a message that is handed in.
enum PreparedMessage: Hashable, Sendable {
    /// It gets this one.
    case new(QueueID)
    /// It was accepted under this one by a node that died before it could answer.
    case accepted(QueueID)

    var id: QueueID {
        switch self {
        case .new(let id), .accepted(let id): id
        }
    }
}

// TravelEndpoints.swift — a relay is emptied into another one: closing the door here, handing a message over, taking one in.
//
// Whoever carries messages (`martlet drain`) asks the one relay for a message, gives it to the other, and tells the first what
// came of it; each step can be repeated. A message that is not taken is refused with `taken: false`, and whoever has no such
// answer cannot know.

import Config
import Files
import JSON
import Mail
import NIOCore
import OpenSSL
import Queue
import Storage

/// Operations on messages that go from relay to relay.
enum TravelEndpoints {
    /// Bytes of a message that stay in memory; a longer body is a file.
    private static let longestWhole = 1 << 20
    private static let piece = 256 << 10

    // MARK: the door

    /// `GET /v1/drain`: whether mail is taken, and in which form messages may come.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let largest = services.settings.current.listener.messageBytes
        return .json([
            "draining": .bool(services.queue.isClosed),
            "has_room": .bool(services.queue.hasRoom(for: largest) && services.queue.trouble == nil),
            "form": .count(Int(PackedMessage.version)),
            "version": .string(services.version),
        ])
    }

    /// `POST /v1/drain`: no mail is taken until this is taken back, or the next start.
    static func close(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try turn(request, services, "drainRelay", isClosed: true)
    }

    /// `DELETE /v1/drain`.
    static func open(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try turn(request, services, "reopenRelay", isClosed: false)
    }

    private static func turn(
        _ request: AdminRequest,
        _ services: AdminServices,
        _ operation: String,
        isClosed: Bool
    ) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        try refuseShared(services)
        if services.queue.isClosed != isClosed { services.audit(request, Change(operation: operation)) }
        services.queue.isClosed = isClosed
        return try show(request, services)
    }

    private static func refuseShared(_ services: AdminServices) throws(Problem) {
        guard let cluster = services.cluster else { return }
        throw Problem(
            .conflict,
            "the queue is shared: martlet nodes drain \(cluster.name) gives its mail to the other nodes"
        )
    }

    // MARK: leaving

    /// `POST /v1/queue/{id}/departure`: the message as a whole; from now on it is held until ``end(_:_:)``.
    static func begin(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        var body = try request.object()
        let to = try body.string("to", atMost: 120)
        try body.finish()
        try refuseShared(services)
        let peer = try name(to, "/to")
        let id = try MessageEndpoints.id(request)
        let departure: LeaveAnswer
        do throws(QueueError) { departure = try services.queue.depart(id, to: peer) } catch {
            throw MessageEndpoints.problem(error)
        }
        switch departure {
        case .packed(let packed): return answer(packed)
        case .notFound: throw gone
        case .inFlight:
            throw Problem(.conflict, "a session has the message right now", headers: [HeaderField("Retry-After", "1")])
        case .dying: throw dying
        case .elsewhere(let other):
            throw Problem(
                .conflict,
                "the message is on its way to \(other), which may have it: martlet drain --to that relay finds out",
                members: [JSON.Member("destination", .string(other))]
            )
        }
    }

    private static let gone = Problem(.notFound, "no such message in the queue")

    private static func answer(_ packed: PackedMessage) -> AdminResponse {
        let front = packed.front
        return .stream(PackedMessage.mediaType, size: packed.size(front: front.count)) {
            var checksum = CRC32C()
            var step: [UInt8]? = front
            var offset = 0
            var isOver = false
            return { () throws(AdminStream.Break) -> [UInt8]? in
                if isOver { return nil }
                if let front = step {
                    step = nil
                    checksum.update(front)
                    return front
                }
                let content = packed.message.content
                guard offset < content.size else {
                    isOver = true
                    return PackedMessage.trailer(checksum)
                }
                guard let bytes = try? content.read(at: offset, count: piece), !bytes.isEmpty else {
                    throw AdminStream.Break()
                }
                offset += bytes.count
                checksum.update(bytes)
                return bytes
            }
        }
    }

    /// `DELETE /v1/queue/{id}/departure?to=…&arrived=true`: the other relay has it, or has it not and it goes on here.
    static func end(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery(["to", "arrived"])
        try refuseShared(services)
        let peer = try name(request.value("to"), "?to")
        let hasArrived = try request.flag("arrived")
        let id = try MessageEndpoints.id(request)
        let result: CommandResult
        do throws(QueueError) {
            result =
                hasArrived
                ? try services.queue.departed(id, to: peer) : try services.queue.stay(id, insteadOf: peer)
        } catch {
            throw MessageEndpoints.problem(error)
        }
        switch result {
        case .done:
            let change = Change(operation: "endDeparture", subject: "\(id)", after: hasArrived ? peer : "stays")
            services.audit(request, change)
            return AdminResponse(204)
        case .unchanged: return AdminResponse(204)
        case .notFound: throw gone
        case .inFlight: throw Problem(.conflict, "a session has the message right now")
        case .dying: throw dying
        case .held, .failed:
            throw Problem(.conflict, "somebody let the message go on here although \(peer) has it: it may go out twice")
        }
    }

    private static var dying: Problem {
        Problem(.conflict, "the message is to bounce; revive it first", headers: [HeaderField("Retry-After", "1")])
    }

    private static func name(_ text: String?, _ pointer: String) throws(Problem) -> String {
        guard let text, !text.isEmpty, text.utf8.count <= 120,
            text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ",") })
        else { throw Problem.invalid(pointer, "format", "names the other relay, without blanks and commas") }
        return text
    }

    // MARK: arriving

    /// `PUT /v1/queue/{id}?from=…`: answered when the message is durable here, with all that became of it.
    static func put(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        let packed: PackedMessage
        let fingerprint: String
        let from: String?
        guard let arrivals = services.arrivals else { throw Problem(.unavailable, "this relay takes no messages") }
        do throws(Problem) {
            try request.allowQuery(["from"])
            from = request.value("from")
            packed = try read(request)
            guard let id = QueueID(request.parameter("id")), id == packed.message.id else {
                throw Problem.invalid("", "id", "the message is \(packed.message.id), and the path says another one")
            }
            fingerprint = try digest(packed)
            services.queue.awaitRecovery()
        } catch {
            throw untaken(error)
        }
        let answer = try arrivals.alone(fingerprint) { () throws(Problem) -> AdminResponse in
            if let known = arrivals[fingerprint] {
                // Whoever was cut off before the end of it finishes now.
                if services.queue.isArriving(known, fingerprint) { try release(known, packed, services) }
                return .json(["id": .string("\(known)"), "known": true])
            }
            let id = try arrivals.choosing { () throws(Problem) in try reserve(packed, fingerprint, services) }
            try take(packed, id, fingerprint, from, services)
            services.audit(request, Change(operation: "putMessage", subject: "\(id)", before: from ?? ""))
            return .json(["id": .string("\(id)"), "known": false], status: 201)
        }
        guard let answer else { throw Problem(.conflict, "another request brings the same message right now") }
        return answer
    }

    /// A refusal that says that nothing was taken.
    private static func untaken(_ problem: Problem) -> Problem {
        var problem = problem
        problem.members.append(JSON.Member("taken", false))
        return problem
    }

    private static func read(_ request: AdminRequest) throws(Problem) -> PackedMessage {
        try request.reserve(request.body.count)
        do throws(PackedMessage.Fault) {
            let packed = try PackedMessage(decoding: request.body)
            request.content.drop()
            return packed
        } catch {
            switch error {
            case .newer(let version):
                throw Problem.invalid(
                    "",
                    "version",
                    "the message is in form \(version), of a newer martlet; this one knows \(PackedMessage.version): bring it up to date first"
                )
            case .malformed:
                throw Problem(.malformed, "the body is no message of another relay, or it was damaged on its way")
            }
        }
    }

    private static func digest(_ packed: PackedMessage) throws(Problem) -> String {
        let digest = Digest()
        do throws(QueueError) { try packed.visitIdentity { digest.update($0) } } catch {
            throw MessageEndpoints.problem(error)
        }
        return digest.finish().hexadecimal
    }

    /// Finds a name for the message and holds it, so that nothing leaves before the end.
    private static func reserve(
        _ packed: PackedMessage,
        _ fingerprint: String,
        _ services: AdminServices
    ) throws(Problem) -> QueueID {
        let (queue, size) = (services.queue, packed.message.content.size)
        guard queue.hasRoom(for: size) else {
            let words = queue.isClosed ? "this relay is being drained itself" : "there is no room for mail now"
            throw untaken(Problem(.unavailable, words, headers: [HeaderField("Retry-After", "30")]))
        }
        do throws(QueueError) {
            // What came halfway before may be without what became of it: it begins anew.
            if case .halfway(let id) = try queue.name(for: packed.message.id, fingerprint) {
                queue.giveUp(arriving: id)
            }
            guard case .free(let id) = try queue.name(for: packed.message.id, fingerprint) else {
                throw .broken("message \(packed.message.id) is being taken in already")
            }
            try queue.hold(arriving: [id], Hold.arriving(fingerprint, at: .now()), isTold: false)
            return id
        } catch {
            throw untaken(MessageEndpoints.problem(error))
        }
    }

    private static func take(
        _ packed: PackedMessage,
        _ id: QueueID,
        _ fingerprint: String,
        _ from: String?,
        _ services: AdminServices
    ) throws(Problem) {
        let queue = services.queue
        do throws(QueueError) {
            let message = packed.message.renamed(id, body: try file(packed.message, id, queue))
            queue.memory.force(message.residentBytes)
            let loop = services.loop
            let error = try services.waited { await queue.bring(message, packed.state, on: loop) }
            if let error { throw error }
            try queue.settleArrival(id, packed.state, from: from)
        } catch {
            queue.giveBack(arriving: id)
            throw MessageEndpoints.problem(error)
        }
        do throws(DiskError) { try services.arrivals?.note(fingerprint, id, at: .now()) } catch {
            throw MessageEndpoints.problem(.broken("\(error)"))
        }
        try release(id, packed, services)
    }

    private static func release(
        _ id: QueueID,
        _ packed: PackedMessage,
        _ services: AdminServices
    ) throws(Problem) {
        do throws(QueueError) { try services.queue.release(arrived: id, packed.hold) } catch {
            throw MessageEndpoints.problem(error)
        }
    }

    /// The body of a long message as a file of the queue's; nil: it stays in memory.
    private static func file(
        _ message: NewMessage,
        _ id: QueueID,
        _ queue: MailQueue
    ) throws(QueueError) -> Content.Body? {
        guard message.content.size > longestWhole, case .memory(var bytes) = message.content.body else { return nil }
        let file = try queue.makeLargeBody(id)
        do throws(QueueError) {
            while let part = bytes.readSlice(length: min(piece, bytes.readableBytes)), part.readableBytes > 0 {
                try file.write(part)
            }
            try file.finish()
        } catch {
            file.discard()
            throw error
        }
        return .file(file)
    }
}

extension AdminServices {
    /// The same as ``wait(_:)`` for those who speak of the queue.
    fileprivate func waited<Value: Sendable>(
        _ body: @escaping @Sendable () async -> Value
    ) throws(QueueError) -> Value {
        do throws(Problem) { return try wait(body) } catch { throw .closing }
    }
}

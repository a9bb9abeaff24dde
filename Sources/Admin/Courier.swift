// Courier.swift — a request about mail that another node has goes there, and one about the whole queue goes to all.
//
// Several relays share a queue, and each has its part in memory. Whoever is asked answers for all of them: what is about one
// message is carried out by the node that has it, what is about many by each for its own, and the answers are put together here.
// Guarantees: nothing is carried out twice by one node for one question; a node that does not answer is named, and never taken
// for one that has nothing.

import Config
import JSON
import Mail
import Queue
import Storage

/// Carries requests between the nodes of a shared queue.
struct Courier {
    /// Milliseconds that another node has to answer.
    static let patience: Int64 = 10_000
    /// Bytes of an answer that is carried.
    static let largest = 8 << 20

    let cluster: any Cluster
    let services: AdminServices

    /// - Returns: nil where the queue is this relay's alone, or another node asks already.
    init?(_ request: AdminRequest, _ services: AdminServices) {
        guard let cluster = services.cluster, !request.isErrand else { return nil }
        self.cluster = cluster
        self.services = services
    }

    /// The answer to a request that this node cannot answer by itself.
    ///
    /// - Returns: nil when it can.
    static func answer(
        _ endpoint: Endpoint,
        _ request: AdminRequest,
        _ services: AdminServices
    ) throws(Problem) -> AdminResponse? {
        guard let courier = Courier(request, services) else { return nil }
        switch endpoint.operation {
        case "showMessage", "removeMessage", "retryMessage", "holdMessage", "releaseMessage", "reviveMessage":
            return try courier.toOwner(request)
        case "listQueue": return try courier.list(endpoint, request)
        case "showStats": return request.value("by") == nil ? try courier.statistics(endpoint, request) : nil
        case "flushQueue": return try courier.flush(endpoint, request)
        case "pauseScope", "resumeScope": return try courier.everywhere(endpoint, request)
        case "editOutbound" where courier.isSwitch(request): return try courier.everywhere(endpoint, request)
        case "actOnQueue": return try courier.act(endpoint, request)
        case "traceMessage": return try courier.trace(endpoint, request)
        case "searchHistory": return try courier.history(endpoint, request)
        case "eraseHistory": return try courier.erase(endpoint, request)
        case "listJobs": return try courier.jobs(endpoint, request)
        case "showJob", "cancelJob": return try courier.job(endpoint, request)
        default: return nil
        }
    }

    // MARK: one message

    private func toOwner(_ request: AdminRequest) throws(Problem) -> AdminResponse? {
        guard let id = QueueID(request.parameter("id")) else { return nil }
        // It may change hands while it is asked about.
        for _ in 0..<3 {
            guard !services.queue.has(id) else { return nil }
            let owner: (number: Int64, name: String)?
            do throws(QueueError) { owner = try cluster.owner(of: id) } catch { throw Self.away }
            guard let owner, owner.number != cluster.number else { return nil }
            let response = try ask([(owner.number, owner.name)], request)[0]
            guard let answer = response.answer else { throw Self.silent(owner.name) }
            if answer.status != 404 { return answer }
        }
        return nil
    }

    // MARK: all nodes

    /// What every node says, this one first.
    struct Said {
        let number: Int64
        let name: String
        /// nil: it did not answer in time.
        let answer: AdminResponse?

        /// What it said, where that is a success.
        var json: JSON? {
            guard let answer, answer.status < 300, case .bytes(let bytes) = answer.body else { return nil }
            return try? JSON(parsing: bytes, within: JSONBounds(values: 1_000_000, memory: 256 << 20))
        }
    }

    /// Asks every node the same.
    func all(_ endpoint: Endpoint, _ request: AdminRequest) throws(Problem) -> [Said] {
        let peers = try peers()
        let others = try ask(peers, request)
        return [try own(endpoint, request)] + others
    }

    func peers() throws(Problem) -> [(number: Int64, name: String)] {
        do throws(QueueError) { return try cluster.peers() } catch { throw Self.away }
    }

    /// What this node says.
    func own(_ endpoint: Endpoint, _ request: AdminRequest) throws(Problem) -> Said {
        var request = request
        request.isErrand = true
        return Said(number: cluster.number, name: cluster.name, answer: try endpoint.handle(request, services))
    }

    func ask(_ nodes: [(number: Int64, name: String)], _ request: AdminRequest) throws(Problem) -> [Said] {
        let question = Errand.encode(request)
        return try ask(nodes.map { ($0.number, $0.name, question) })
    }

    func ask(_ questions: [(number: Int64, name: String, question: [UInt8])]) throws(Problem) -> [Said] {
        let answers: [[UInt8]?]
        do throws(QueueError) {
            answers = try cluster.ask(questions.map { ($0.number, $0.question) }, patience: Self.patience)
        } catch {
            throw Self.away
        }
        return zip(questions, answers).map { question, answer in
            Said(number: question.number, name: question.name, answer: answer.flatMap(Errand.answer))
        }
    }

    /// Says it to every node; each keeps it as if it had been said to it alone, and those that are away hear of it when they come
    /// back.
    ///
    /// Here it is in force first: what stops mail works whatever is away.
    private func everywhere(_ endpoint: Endpoint, _ request: AdminRequest) throws(Problem) -> AdminResponse? {
        let bytes = request.body
        let answer = try own(endpoint, request).answer
        guard (try? request.flag(FileEdits.dryRun)) != true, let answer, answer.status < 300 else { return answer }
        request.body = bytes
        try say(endpoint, request)
        let said = try ask(try peers(), request)
        if let deaf = said.first(where: { $0.answer.map { $0.status >= 500 } ?? true }) { throw Self.silent(deaf.name) }
        return answer
    }

    /// Leaves behind what holds from now on, for those that are away.
    private func say(_ endpoint: Endpoint, _ request: AdminRequest) throws(Problem) {
        let scope: LimitScope?
        switch endpoint.operation {
        case "pauseScope":
            let json = try? JSON(parsing: request.body, within: JSONBounds(values: 100, memory: 1 << 20))
            scope = (json?["scope"]?.string).flatMap { LimitScope($0) }
        case "resumeScope": scope = LimitScope(request.parameter("scope"))
        default: scope = nil
        }
        do throws(QueueError) {
            if let scope { return try cluster.say(scope.description, services.queue.word(about: scope)) }
            let outbound = services.settings.current.outbound
            let word = MailQueue.word(isDisabled: outbound.isDisabled, outbound.disabledReason)
            try cluster.say(SharedWord.delivery, word)
        } catch {
            throw Self.away
        }
    }

    /// A change of the switch of delivery and nothing else.
    private func isSwitch(_ request: AdminRequest) -> Bool {
        guard let json = try? JSON(parsing: request.body, within: JSONBounds(values: 100, memory: 1 << 20)) else {
            return false
        }
        let names = json.members.map(\.name)
        return !names.isEmpty && names.allSatisfy { ["disabled", "disabled_reason", "reason"].contains($0) }
    }

    private func flush(_ endpoint: Endpoint, _ request: AdminRequest) throws(Problem) -> AdminResponse? {
        let peers = try peers()
        guard !peers.isEmpty else { return nil }
        let others = try ask(peers, request)
        let said = [try own(endpoint, request)] + others
        if let deaf = said.first(where: { $0.answer == nil }) { throw Self.silent(deaf.name) }
        guard var sum = said[0].json else { return said[0].answer }
        sum["flushed"] = .count(said.reduce(0) { $0 + ($1.json?["flushed"]?.integer ?? 0) })
        return .json(sum, status: 202)
    }

    static let away = Problem.databaseAway

    static func silent(_ name: String) -> Problem {
        .nodeAway(name)
    }
}

/// A request and its answer as they are carried.
enum Errand {
    /// - Parameter isWhole: the other node is to answer for all nodes, as this one was asked to.
    static func encode(
        _ request: AdminRequest,
        method: HTTPMethod? = nil,
        path: String? = nil,
        query: [HeaderField]? = nil,
        body: [UInt8]? = nil,
        isWhole: Bool = false
    ) -> [UInt8] {
        let query = query ?? request.query
        let value: JSON = [
            "method": .string((method ?? request.method).rawValue), "path": .string(path ?? request.path),
            "query": .array(query.map { .strings([$0.name, $0.value]) }),
            "type": .optional(request.header("content-type")), "id": .string(request.id),
            "actor": .string(request.caller.name), "whole": .bool(isWhole),
            "body": .string(String(decoding: body ?? request.body, as: UTF8.self)),
        ]
        return value.bytes
    }

    /// Carries out what another node asks.
    static func serve(_ question: [UInt8], _ desk: AdminDesk) -> [UInt8] {
        do throws(Problem) {
            let request = try decode(question)
            let match = try Match.of(request.method.rawValue, request.path, in: desk.table)
            var open = request
            open.parameters = match.parameters
            return encode(try desk.carryOut(match.endpoint, open))
        } catch {
            let id = (try? decode(question))?.id ?? ""
            return encode(desk.refuse(error, id, ""))
        }
    }

    private static func decode(_ bytes: [UInt8]) throws(Problem) -> AdminRequest {
        guard let json = try? JSON(parsing: bytes, within: JSONBounds(values: 200_000, memory: 64 << 20)),
            let method = json["method"]?.string.flatMap(HTTPMethod.init(rawValue:)), let path = json["path"]?.string
        else { throw Problem(.malformed, "another node asks something that cannot be read") }
        var request = AdminRequest(method, path, id: json["id"]?.string ?? "")
        for pair in json["query"]?.elements ?? [] where pair.elements.count == 2 {
            request.query.append(HeaderField(pair.elements[0].string ?? "", pair.elements[1].string ?? ""))
        }
        if let type = json["type"]?.string { request.headers["content-type"] = type }
        request.body = Array((json["body"]?.string ?? "").utf8)
        request.caller = Caller(name: json["actor"]?.string ?? "", scopes: [], address: nil)
        request.isErrand = json["whole"]?.bool != true
        return request
    }

    private static func encode(_ response: AdminResponse) -> [UInt8] {
        var text = ""
        if case .bytes(let bytes) = response.body, bytes.count <= Courier.largest {
            text = String(decoding: bytes, as: UTF8.self)
        }
        let value: JSON = [
            "status": .integer(Int64(response.status)),
            "headers": .array(response.headers.map { .strings([$0.name, $0.value]) }), "body": .string(text),
        ]
        return value.bytes
    }

    static func answer(_ bytes: [UInt8]) -> AdminResponse? {
        guard let json = try? JSON(parsing: bytes, within: JSONBounds(values: 1_000, memory: 64 << 20)),
            let status = json["status"]?.integer
        else { return nil }
        let headers = (json["headers"]?.elements ?? []).compactMap { pair -> HeaderField? in
            guard pair.elements.count == 2, let name = pair.elements[0].string, let value = pair.elements[1].string
            else { return nil }
            return HeaderField(name, value)
        }
        let body = Array((json["body"]?.string ?? "").utf8)
        return AdminResponse(status, headers: headers, body: body.isEmpty ? .none : .bytes(body))
    }
}

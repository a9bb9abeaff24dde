// Courier+Sums.swift — numbers and bulk actions of all nodes: what is counted is added up, what is planned and begun is named
// together.
//
// A plan or a job of several nodes is named by what each of them calls its own, so any node can go on with it.

import JSON
import Mail
import Storage

extension Courier {
    // MARK: numbers

    private static let counts = ["in_progress", "waiting", "temp_failed", "held", "dying", "messages", "queued_bytes"]

    /// `GET /v1/stats`: of the whole queue; memory, disk and configuration are of the node that is asked.
    func statistics(_ endpoint: Endpoint, _ request: AdminRequest) throws(Problem) -> AdminResponse? {
        let peers = try peers()
        guard !peers.isEmpty else { return nil }
        let said = try all(endpoint, request)
        if let deaf = said.first(where: { $0.answer == nil }) { throw Self.silent(deaf.name) }
        let all = said.compactMap(\.json)
        guard all.count == said.count, var sum = all.first else { return said[0].answer }
        for name in Self.counts { sum[name] = .count(all.reduce(0) { $0 + ($1[name]?.integer ?? 0) }) }
        for name in ["totals", "rates_per_s"] { sum[name] = Self.added(all.compactMap { $0[name] }) }
        sum["oldest_age_s"] = Self.oldest(all.compactMap { $0["oldest_age_s"] })
        sum["oldest_age_by_state_s"] = .object(
            (sum["oldest_age_by_state_s"]?.members ?? []).map { member in
                JSON.Member(member.name, Self.oldest(all.compactMap { $0["oldest_age_by_state_s"]?[member.name] }))
            }
        )
        sum["ages"] = .array(
            (sum["ages"]?.elements ?? []).enumerated().map { place, age in
                let count = all.reduce(0) {
                    $0 + ($1["ages"]?.elements.dropFirst(place).first?["messages"]?.integer ?? 0)
                }
                return ["up_to_s": age["up_to_s"] ?? .null, "messages": .count(count)]
            }
        )
        let destinations = Self.destinations(all.flatMap { $0["destinations"]?.elements ?? [] })
        let most = try request.number("top", 0...10_000) ?? 10
        sum["destinations"] = .array(Array(destinations.prefix(most)))
        sum["destination_count"] = .count(
            max(destinations.count, all.map { $0["destination_count"]?.integer ?? 0 }.max() ?? 0)
        )
        sum["disabled"] = .bool(all.contains { $0["disabled"]?.bool == true })
        return .json(sum, headers: [HeaderField("Cache-Control", "max-age=1")])
    }

    private static func oldest(_ values: [JSON]) -> JSON {
        values.compactMap(\.integer).max().map { .count($0) } ?? .null
    }

    /// Numbers of the same names, added up, however deep they stand.
    private static func added(_ values: [JSON]) -> JSON {
        guard let first = values.first else { return .null }
        if !first.members.isEmpty {
            return .object(
                first.members.map { member in JSON.Member(member.name, added(values.compactMap { $0[member.name] })) }
            )
        }
        if values.allSatisfy({ $0.integer != nil }) { return .count(values.reduce(0) { $0 + ($1.integer ?? 0) }) }
        return .number(values.reduce(0) { $0 + ($1.double ?? 0) })
    }

    /// Next hops with what all nodes have for them, the most first.
    private static func destinations(_ rows: [JSON]) -> [JSON] {
        var places: [String: Int] = [:]
        var sums: [JSON] = []
        for row in rows {
            let name = row["route"]?.string ?? ""
            guard let place = places[name] else {
                places[name] = sums.count
                sums.append(row)
                continue
            }
            for member in ["parcels", "waiting", "in_progress", "sessions", "session_limit"] {
                sums[place][member] = .count((sums[place][member]?.integer ?? 0) + (row[member]?.integer ?? 0))
            }
        }
        return sums.sorted { ($0["parcels"]?.integer ?? 0) > ($1["parcels"]?.integer ?? 0) }
    }

    // MARK: bulk actions

    /// What several nodes call something, as one name.
    private struct Names {
        var parts: [(number: Int64, name: String)]

        init(_ parts: [(number: Int64, name: String)]) { self.parts = parts }

        /// - Returns: nil when it is one node's own name.
        init?(_ text: String) {
            guard text.starts(withOctets: "n") else { return nil }
            parts = []
            for word in text.dropping(octets: 1).split(octet: "~", omittingEmpty: false) {
                let pair = word.split(octet: ".", maxSplits: 1, omittingEmpty: false)
                guard pair.count == 2, let number = Int64(pair[0]) else { return nil }
                parts.append((number, String(pair[1])))
            }
        }

        var text: String { "n" + parts.map { "\($0.number).\($0.name)" }.joined(separator: "~") }
    }

    /// `POST /v1/queue/actions`.
    func act(_ endpoint: Endpoint, _ request: AdminRequest) throws(Problem) -> AdminResponse? {
        let bytes = request.body
        let json = try? JSON(parsing: bytes, within: JSONBounds(values: 1_000, memory: 1 << 20))
        let said: [Said]
        if let plan = json?["plan"]?.string {
            guard let names = Names(plan) else { return nil }
            said = try each(names, endpoint, request) { name in
                (request.path, JSON.object([JSON.Member("plan", .string(name))]).bytes)
            }
        } else {
            let peers = try peers()
            guard !peers.isEmpty else { return nil }
            // What is wrong with it is said here, before anybody else is asked.
            let own = try own(endpoint, request)
            request.body = bytes
            said = [own] + (try ask(peers, request))
        }
        return try together(said)
    }

    /// Plans or jobs of several nodes as one.
    private func together(_ said: [Said]) throws(Problem) -> AdminResponse {
        if let deaf = said.first(where: { $0.answer == nil }) { throw Self.silent(deaf.name) }
        if let refused = said.first(where: { $0.json == nil })?.answer { return refused }
        let parts = said.compactMap { one in one.json.map { (one.number, $0) } }
        guard var sum = parts.first?.1 else { throw Self.away }
        let all = parts.map(\.1)
        for name in ["matched", "bytes", "done", "skipped", "failed"] where sum[name] != nil {
            sum[name] = .count(all.reduce(0) { $0 + ($1[name]?.integer ?? 0) })
        }
        if sum["plan"] != nil {
            sum["plan"] = .string(Names(parts.map { ($0.0, $0.1["plan"]?.string ?? "") }).text)
            sum["sample"] = .array(Array(all.flatMap { $0["sample"]?.elements ?? [] }.prefix(10)))
            return .json(sum)
        }
        let id = Names(parts.map { ($0.0, $0.1["id"]?.string ?? "") }).text
        sum["id"] = .string(id)
        let states = all.compactMap { $0["state"]?.string }
        sum["state"] = .string(["running", "cancelled"].first { states.contains($0) } ?? "done")
        sum["problem"] = all.compactMap { $0["problem"]?.string }.first.map { .string($0) } ?? .null
        let ends = all.compactMap { $0["finished_at"]?.string }
        sum["finished_at"] = ends.count == all.count ? ends.max().map { .string($0) } ?? .null : .null
        return .json(sum, status: said[0].answer?.status ?? 200, headers: [HeaderField("Location", "/v1/jobs/\(id)")])
    }

    /// Asks each of some nodes for what it calls its own.
    private func each(
        _ names: Names,
        _ endpoint: Endpoint,
        _ request: AdminRequest,
        _ make: (String) -> (path: String, body: [UInt8])
    ) throws(Problem) -> [Said] {
        let peers = try peers()
        var own: [Said] = []
        var questions: [(number: Int64, name: String, question: [UInt8])] = []
        for part in names.parts {
            let (path, body) = make(part.name)
            if part.number == cluster.number {
                var asked = request
                asked.parameters["id"] = part.name
                asked.body = body
                own.append(try self.own(endpoint, asked))
            } else {
                let name = peers.first { $0.number == part.number }?.name ?? "\(part.number)"
                questions.append((part.number, name, Errand.encode(request, path: path, body: body)))
            }
        }
        return own + (try ask(questions))
    }

    /// `GET /v1/jobs`.
    func jobs(_ endpoint: Endpoint, _ request: AdminRequest) throws(Problem) -> AdminResponse? {
        let peers = try peers()
        guard !peers.isEmpty else { return nil }
        let said = try all(endpoint, request)
        var items: [JSON] = []
        for one in said {
            for var job in one.json?["items"]?.elements ?? [] {
                job["id"] = .string(Names([(one.number, job["id"]?.string ?? "")]).text)
                items.append(job)
            }
        }
        let isWhole = said.allSatisfy { $0.json != nil }
        return .json(["items": .array(items), "next": nil, "total": .count(items.count), "total_exact": .bool(isWhole)])
    }

    /// `GET /v1/jobs/{id}`, `DELETE /v1/jobs/{id}`.
    func job(_ endpoint: Endpoint, _ request: AdminRequest) throws(Problem) -> AdminResponse? {
        guard let names = Names(request.parameter("id")) else { return nil }
        let said = try each(names, endpoint, request) { ("/v1/jobs/\($0)", []) }
        guard request.method == .get else {
            if let deaf = said.first(where: { $0.answer == nil }) { throw Self.silent(deaf.name) }
            // Those that were over already stay as they are.
            return said.first { $0.answer?.status == 204 }?.answer ?? said.first?.answer
        }
        return try together(said)
    }
}

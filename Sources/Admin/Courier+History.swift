// Courier+History.swift — the past of all nodes that are alive: each keeps its own history, and whoever is asked asks them all.

import History
import JSON
import Mail
import Queue
import Storage

extension Courier {
    /// Messages of a page that all nodes are asked about.
    private static let mostOpen = 64

    /// `GET /v1/messages/{id}`: what every node knows of it, as one.
    func trace(_ endpoint: Endpoint, _ request: AdminRequest) throws(Problem) -> AdminResponse? {
        let peers = try peers()
        guard !peers.isEmpty else { return nil }
        var told: [(node: String, story: JSON)] = []
        var refusal: Problem?
        do throws(Problem) {
            if let story = try own(endpoint, request).json { told.append((cluster.name, story)) }
        } catch {
            refusal = error
        }
        let said = try ask(peers, request)
        for other in said { if let story = other.json { told.append((other.name, story)) } }
        guard told.isEmpty else { return .json(JoinedStory.of(told)) }
        // Whoever does not answer may be the one that knows.
        if let deaf = said.first(where: { $0.answer == nil }) { throw Self.silent(deaf.name) }
        if let refusal { throw refusal }
        return nil
    }

    /// `GET /v1/history`: a page has some of each node's, and the cursor says how far each was read.
    func history(_ endpoint: Endpoint, _ request: AdminRequest) throws(Problem) -> AdminResponse? {
        let peers = try peers()
        let spelled = try request.spelledOut(.history)
        let cursor = spelled.value("cursor")
        // A page of one node, that began before there were others.
        if let cursor, !cursor.starts(withOctets: "n") { return nil }
        guard !peers.isEmpty || cursor != nil else { return nil }
        var parts = [(number: cluster.number, name: cluster.name)] + peers
        var places: [Int64: String] = [:]
        if let cursor {
            places = try Self.places(cursor)
            parts.removeAll { places[$0.number] == nil }
        }
        let limit = try spelled.number("limit", 1...1_000) ?? 100
        let asked = Array(parts.prefix(limit))
        let pages = try pages(of: asked, endpoint, request, from: places, atMost: max(1, limit / max(1, asked.count)))
        var next = parts.dropFirst(limit).map { "\($0.number)-\(places[$0.number] ?? "")" }
        for (part, page) in zip(asked, pages) {
            if let place = page?["next"]?.string { next.append("\(part.number)-\(place)") }
        }
        let told = zip(asked, pages).map { (node: $0.name, stories: $1?["items"]?.elements ?? []) }
        var answer: JSON = [
            "items": .array(try completed(JoinedStory.list(told))),
            "next": next.isEmpty ? .null : .string("n" + next.joined(separator: ".")),
        ]
        let missing = zip(asked, pages).filter { $1 == nil }.map(\.0.name)
        if !missing.isEmpty { answer["missing_nodes"] = .strings(missing) }
        return .json(answer)
    }

    /// Adds to messages that are not finished where they were accepted what nodes know that took them over.
    private func completed(_ stories: [JSON]) throws(Problem) -> [JSON] {
        let open = stories.filter { $0["finished_at"] == .null }.prefix(Self.mostOpen).compactMap { $0["id"]?.string }
        let nodes = try peers()
        guard !open.isEmpty, !nodes.isEmpty else { return stories }
        var told: [String: [(node: String, story: JSON)]] = [:]
        for id in open {
            if let id = QueueID(id), let story = (try? services.history()?.story(of: id)) ?? nil {
                told["\(id)", default: []].append((cluster.name, .object(HistoryView.members(story))))
            }
        }
        let questions = open.flatMap { id in
            nodes.map { ($0.number, $0.name, Errand.encode(AdminRequest(.get, "/v1/messages/\(id)"))) }
        }
        for (place, said) in try ask(questions).enumerated() {
            if let story = said.json { told[open[place / nodes.count], default: []].append((said.name, story)) }
        }
        return stories.map { story in
            guard let more = told[story["id"]?.string ?? ""]?.filter({ $0.story["sender"] != nil }), !more.isEmpty
            else {
                return story
            }
            return JoinedStory.row(JoinedStory.of(more))
        }
    }

    /// One page of each node; nil of one that does not answer, or keeps no history.
    private func pages(
        of parts: [(number: Int64, name: String)],
        _ endpoint: Endpoint,
        _ request: AdminRequest,
        from places: [Int64: String],
        atMost count: Int
    ) throws(Problem) -> [JSON?] {
        func query(_ number: Int64) -> [HeaderField] {
            var query = request.query.filter { !["cursor", "limit"].contains($0.name) }
            query.append(HeaderField("limit", "\(count)"))
            if let place = places[number], !place.isEmpty { query.append(HeaderField("cursor", place)) }
            return query
        }
        let others = parts.filter { $0.number != cluster.number }
        let said = try ask(others.map { ($0.number, $0.name, Errand.encode(request, query: query($0.number))) })
        var pages: [Int64: JSON] = [:]
        for other in said { pages[other.number] = other.json }
        if parts.count > others.count {
            var mine = request
            mine.query = query(cluster.number)
            // A condition that makes no sense makes none anywhere.
            pages[cluster.number] = try own(endpoint, mine).json
        }
        return parts.map { pages[$0.number] }
    }

    /// How far each node was read: `n17-123.18-99`.
    private static func places(_ cursor: String) throws(Problem) -> [Int64: String] {
        var places: [Int64: String] = [:]
        for part in cursor.dropping(octets: 1).split(octet: ".") {
            let words = part.split(octet: "-", omittingEmpty: false)
            guard words.count == 2, let number = Int64(words[0]) else {
                throw Problem(.malformed, "the cursor is none of ours; take it from next of the page before")
            }
            places[number] = String(words[1])
        }
        return places
    }

    /// `DELETE /v1/history`: a person is forgotten by all.
    func erase(_ endpoint: Endpoint, _ request: AdminRequest) throws(Problem) -> AdminResponse? {
        let peers = try peers()
        guard !peers.isEmpty else { return nil }
        let said = [try own(endpoint, request)] + (try ask(peers, request))
        if let deaf = said.first(where: { $0.answer == nil }) { throw Self.silent(deaf.name) }
        return .json(["messages": .count(said.reduce(0) { $0 + ($1.json?["messages"]?.integer ?? 0) })])
    }
}

// Courier+Listing.swift — one listing of the messages of all nodes: each one's pages, merged row by row.
//
// The node that is asked first keeps what was fetched and not yet given; the cursor names it, so further pages may be asked for
// anywhere. Listings are few, bounded, and forgotten when nobody asks for five minutes, as those of one node are.

import JSON
import Mail
import Queue
import Storage
import Synchronization

/// Listings of all nodes that are under way here.
package final class ClusterListings: Sendable {
    struct Part {
        let number: Int64
        let name: String
        /// nil: nothing was asked yet.
        var next: String?
        var rows: ArraySlice<JSON> = []
        var isOver = false
    }

    struct Listing {
        var parts: [Part]
        var query: [HeaderField]
        var total = 0
        var isExact = true
        var usedAt: Uptime
    }

    private static let most = 32
    private static let patience: Int64 = 300_000

    private let listings = Mutex<[UInt64: Listing]>([:])

    package init() {}

    func take(_ number: UInt64, at now: Uptime) -> Listing? {
        listings.withLock { all in
            all = all.filter { now.milliseconds(since: $0.value.usedAt) < Self.patience }
            return all.removeValue(forKey: number)
        }
    }

    func keep(_ listing: Listing, _ number: UInt64) {
        listings.withLock { all in
            while all.count >= Self.most, let oldest = all.min(by: { $0.value.usedAt < $1.value.usedAt }) {
                all[oldest.key] = nil
            }
            all[number] = listing
        }
    }
}

extension Courier {
    private static let expired = Problem(
        .gone,
        "the listing was forgotten after five minutes without use; begin again"
    )

    /// `GET /v1/queue`.
    func list(_ endpoint: Endpoint, _ request: AdminRequest) throws(Problem) -> AdminResponse? {
        let spelled = try request.spelledOut(.queue)
        let cursor = spelled.value("cursor")
        // Lines of one node, or a page that began before there were others.
        if let cursor, !cursor.starts(withOctets: "n") { return nil }
        let now = Uptime.now()
        var listing: ClusterListings.Listing
        var number: UInt64
        if let cursor {
            let words = cursor.dropping(octets: 1).split(octet: ".", omittingEmpty: false)
            guard words.count == 2, let node = Int64(words[0]), let known = UInt64(words[1], radix: 16) else {
                throw Problem(.malformed, "the cursor is none of ours; take it from next of the page before")
            }
            guard node == cluster.number else { return try elsewhere(node, request) }
            guard let found = services.listings.take(known, at: now) else { throw Self.expired }
            (listing, number) = (found, known)
        } else {
            let peers = try peers()
            guard !peers.isEmpty else { return nil }
            let nodes = [(number: cluster.number, name: cluster.name)] + peers
            listing = ClusterListings.Listing(
                parts: nodes.map { ClusterListings.Part(number: $0.number, name: $0.name) },
                query: spelled.query.filter { !["cursor", "limit"].contains($0.name) },
                usedAt: now
            )
            number = UInt64.random(in: 1 ... .max)
        }
        let isStream = request.prefers("application/x-ndjson", to: "application/json")
        let most = isStream ? 100_000_000 : MailQueue.longestPage
        let limit = try spelled.number("limit", 1...most) ?? (isStream ? most : 100)
        listing.usedAt = now
        let page = min(limit, MailQueue.longestPage)
        let rows = try merge(&listing, page, endpoint, request)
        guard !isStream else { return lines(rows, listing, limit, endpoint, request) }
        let isOver = listing.parts.allSatisfy { $0.isOver && $0.rows.isEmpty }
        if !isOver { services.listings.keep(listing, number) }
        return .json([
            "items": .array(rows),
            "next": isOver ? nil : .string("n\(cluster.number)." + String(number, radix: 16)),
            "total": .count(listing.total),
            "total_exact": .bool(listing.isExact),
        ])
    }

    /// The listing lies with another node.
    private func elsewhere(_ node: Int64, _ request: AdminRequest) throws(Problem) -> AdminResponse {
        guard let peer = try peers().first(where: { $0.number == node }) else { throw Self.expired }
        guard let answer = try ask([(peer.number, peer.name, Errand.encode(request, isWhole: true))])[0].answer else {
            throw Self.silent(peer.name)
        }
        return answer
    }

    private func lines(
        _ first: [JSON],
        _ listing: ClusterListings.Listing,
        _ limit: Int,
        _ endpoint: Endpoint,
        _ request: AdminRequest
    ) -> AdminResponse {
        .stream("application/x-ndjson") {
            var (rows, listing, left) = (first, listing, limit)
            return {
                guard !rows.isEmpty else { return nil }
                var bytes: [UInt8] = []
                for row in rows {
                    row.write(to: &bytes)
                    bytes.append(0x0A)
                }
                left -= rows.count
                rows = left > 0 ? (try? merge(&listing, min(left, MailQueue.longestPage), endpoint, request)) ?? [] : []
                return bytes
            }
        }
    }

    /// The next rows of all, in order.
    private func merge(
        _ listing: inout ClusterListings.Listing,
        _ limit: Int,
        _ endpoint: Endpoint,
        _ request: AdminRequest
    ) throws(Problem) -> [JSON] {
        let order = RowOrder(listing.query.first { $0.name == "sort" }?.value ?? "")
        var rows: [JSON] = []
        while rows.count < limit {
            try fill(&listing, limit, endpoint, request)
            let heads = listing.parts.indices.filter { !listing.parts[$0].rows.isEmpty }
            let first = heads.min { a, b in
                guard let left = listing.parts[a].rows.first, let right = listing.parts[b].rows.first else {
                    return false
                }
                return order.precedes(left, right)
            }
            guard let first else { break }
            rows.append(listing.parts[first].rows.removeFirst())
        }
        return rows
    }

    /// Fetches the next page of those who have none.
    private func fill(
        _ listing: inout ClusterListings.Listing,
        _ limit: Int,
        _ endpoint: Endpoint,
        _ request: AdminRequest
    ) throws(Problem) {
        let empty = listing.parts.indices.filter { listing.parts[$0].rows.isEmpty && !listing.parts[$0].isOver }
        guard !empty.isEmpty else { return }
        func query(_ place: Int) -> [HeaderField] {
            let cursor = listing.parts[place].next.map { [HeaderField("cursor", $0)] } ?? []
            // A page that goes on has its listing's filter.
            return (cursor.isEmpty ? listing.query : []) + cursor + [HeaderField("limit", "\(limit)")]
        }
        let others = empty.filter { listing.parts[$0].number != cluster.number }
        var said = try ask(
            others.map {
                (listing.parts[$0].number, listing.parts[$0].name, Errand.encode(request, query: query($0), body: []))
            }
        )
        if let place = empty.first(where: { listing.parts[$0].number == cluster.number }) {
            var own = request
            own.query = query(place)
            own.headers["accept"] = "application/json"
            said.append(try self.own(endpoint, own))
        }
        for place in empty {
            let part = listing.parts[place]
            let isFirst = part.next == nil
            guard let page = said.first(where: { $0.number == part.number })?.json else {
                // It is gone or stands still: the rest of it is missing, and the total says so.
                listing.parts[place].isOver = true
                listing.isExact = false
                continue
            }
            listing.parts[place].rows = page["items"]?.elements[...] ?? []
            listing.parts[place].next = page["next"]?.string
            listing.parts[place].isOver = page["next"]?.string == nil
            if isFirst {
                listing.total += page["total"]?.integer ?? 0
                if page["total_exact"]?.bool != true { listing.isExact = false }
            }
        }
    }
}

/// The order of a listing, over rows as they are shown.
struct RowOrder {
    private let key: String
    private let isDescending: Bool

    /// - Parameter text: `queued_at`, `size`, `next_attempt`, each with `-` in front for the other direction.
    init(_ text: String) {
        isDescending = text.starts(withOctets: "-")
        let sort = QueueSort.Key(rawValue: String(isDescending ? text.dropping(octets: 1) : text[...])) ?? .queuedAt
        key =
            switch sort {
            case .queuedAt: ""
            case .size: "size_bytes"
            case .nextAttempt: "next_attempt_at"
            }
    }

    func precedes(_ left: JSON, _ right: JSON) -> Bool {
        let (a, b) = isDescending ? (right, left) : (left, right)
        if let x = a[key]?.integer, let y = b[key]?.integer, x != y { return x < y }
        let (x, y) = (a[key]?.string ?? "", b[key]?.string ?? "")
        // Times of one form, ids of one length: their octets are in order.
        if x != y { return x < y }
        return (a["id"]?.string ?? "") < (b["id"]?.string ?? "")
    }
}

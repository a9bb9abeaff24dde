// JoinedStory.swift — what several nodes know of one message, as one: a message that changed hands has a part of its life on each. Pure.

import JSON
import Mail

enum JoinedStory {
    /// What became of a recipient, for good.
    private static let ends: Set<String> = ["delivered", "bounced", "suppressed", "removed"]

    /// Joins what nodes say of one message, in the form of `PastMessage` or `TracedMessage`.
    ///
    /// - Parameter told: at least one; each with the name of its node.
    static func of(_ told: [(node: String, story: JSON)]) -> JSON {
        // Who knows nothing of it but that it is in the queue tells least.
        guard var whole = (told.first { $0.story["sender"] != nil } ?? told.first)?.story else { return .null }
        let stories = told.map(\.story)
        if whole["sender"] != nil {
            whole["recipients"] = .array(recipients(stories))
            whole["finished_at"] = latest(stories, "finished_at")
        }
        if stories.contains(where: { $0["timeline"] != nil }) {
            whole["timeline"] = .array(timeline(stories))
            whole["queue"] = stories.compactMap { $0["queue"] }.first { $0 != .null } ?? .null
        }
        whole["nodes"] = .strings(told.map(\.node))
        return whole
    }

    /// What of a traced message stands in a list.
    static func row(_ story: JSON) -> JSON {
        .object(story.members.filter { $0.name != "timeline" && $0.name != "queue" })
    }

    /// Joins lists of messages, the newest first.
    static func list(_ told: [(node: String, stories: [JSON])]) -> [JSON] {
        var order: [String] = []
        var byID: [String: [(node: String, story: JSON)]] = [:]
        for (node, stories) in told {
            for story in stories {
                let id = story["id"]?.string ?? ""
                if byID[id] == nil { order.append(id) }
                byID[id, default: []].append((node, story))
            }
        }
        // Times of one form are in order as texts; of one time the later id is the newer.
        func key(_ story: JSON) -> (String, String) { (story["accepted_at"]?.string ?? "", story["id"]?.string ?? "") }
        return order.compactMap { byID[$0].map(of) }.sorted { key($0) > key($1) }
    }

    /// Each address once: as it ended, or as it was last tried.
    private static func recipients(_ stories: [JSON]) -> [JSON] {
        var order: [String] = []
        var fates: [String: JSON] = [:]
        for fate in stories.flatMap({ $0["recipients"]?.elements ?? [] }) {
            let address = fate["address"]?.string ?? ""
            guard let known = fates[address] else {
                order.append(address)
                fates[address] = fate
                continue
            }
            let attempts = max(known["attempts"]?.integer ?? 0, fate["attempts"]?.integer ?? 0)
            var later = rank(fate) > rank(known) ? fate : known
            later["attempts"] = .count(attempts)
            fates[address] = later
        }
        return order.compactMap { fates[$0] }
    }

    private static func rank(_ fate: JSON) -> (Int, String) {
        (ends.contains(fate["status"]?.string ?? "") ? 1 : 0, fate["at"]?.string ?? "")
    }

    private static func latest(_ stories: [JSON], _ name: String) -> JSON {
        .optional(stories.compactMap { $0[name]?.string }.max())
    }

    private static func timeline(_ stories: [JSON]) -> [JSON] {
        func key(_ event: JSON) -> (String, String, Int) {
            (event["time"]?.string ?? "", event["node"]?.string ?? "", event["seq"]?.integer ?? 0)
        }
        return stories.flatMap { $0["timeline"]?.elements ?? [] }.sorted { key($0) < key($1) }
    }
}

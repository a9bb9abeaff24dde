// LiveTopic.swift — the topics that a page follows: each is what its GET answers, and is made no oftener than its period says.

import Config
import Mail

/// Something that changes by itself; in the order in which a newcomer hears of them, what is quick first.
enum LiveTopic: String, CaseIterable, Hashable, Sendable {
    case stats, ready, pauses, day, nodes, waiting

    /// Milliseconds from one to the next.
    var period: Int64 {
        switch self {
        case .stats, .waiting: 2000
        case .ready, .pauses, .nodes: 10_000
        case .day: 60_000
        }
    }

    /// What its GET is asked.
    private var question: (path: String, query: [HeaderField]) {
        switch self {
        case .stats: ("/v1/stats", [HeaderField("top", "20")])
        case .ready: ("/readyz", [])
        case .pauses: ("/v1/pauses", [])
        case .day: ("/v1/stats/day", [HeaderField("step_s", "900")])
        case .nodes: ("/v1/nodes", [])
        case .waiting: ("/v1/stats/waiting", [])
        }
    }

    /// What a token needs for it; nil: everybody may ask.
    var scope: AdminSettings.Scope? { (try? Match.of("GET", question.path))?.endpoint.scope }

    /// Its value as JSON, of all nodes where there are several; nil: it cannot be had now.
    ///
    /// Blocks.
    func value(_ services: AdminServices) -> [UInt8]? {
        let (path, query) = question
        do throws(Problem) {
            let endpoint = try Match.of("GET", path).endpoint
            var request = AdminRequest(.get, path, id: "live")
            request.query = query
            let ofAll = try Courier.answer(endpoint, request, services)
            let answer = if let ofAll { ofAll } else { try endpoint.handle(request, services) }
            guard case .bytes(let bytes) = answer.body else { return nil }
            return bytes
        } catch {
            return nil
        }
    }
}

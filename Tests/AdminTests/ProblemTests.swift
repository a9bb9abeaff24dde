// ProblemTests.swift — a refusal says what happened and what to do next.

import Files
import History
import OpenSSL
import Testing

@testable import Admin

@Suite struct ProblemTests {
    @Test func whatIsNotThereSaysWhereToLook() {
        let words: [TableWords] = [
            RouteEndpoints.words, OutboundIPEndpoints.words, NetworkEndpoints.words, ListenerEndpoints.words,
            UserEndpoints.words, WebhookEndpoints.words, ArchiveEndpoints.words, LimitEndpoints.words,
            RewriteEndpoints.words,
        ]
        let lists = Set(Endpoints.all.filter { $0.method == .get }.map(\.path))
        for table in words {
            let place = table.missing.detail.split(separator: " ").first { $0.hasPrefix("/v1/") }
            #expect(place.map { lists.contains(String($0)) } == true, "\(table.noun): \(table.missing.detail)")
            #expect(table.missing.kind == .notFound)
        }
    }

    @Test(arguments: [
        Problem.stopping, .databaseAway, .nodeAway("b"), .noRandomness, .keyNotMade(TLSError(.settings, "none")),
        .keyNotWritten(DiskError("write", "dkim/x", 28)), EventEndpoints.problem(.off),
        EventEndpoints.problem(.broken("disk")),
    ])
    func whatFailedSaysWhatToDo(_ problem: Problem) {
        let text = problem.detail
        let verbs = ["ask again", "try again", "see that", "see GET", "switches it on", "= true"]
        #expect(verbs.contains { text.contains($0) }, "\(text)")
        #expect(!text.contains("Error("), "\(text)")
    }

    @Test func theOperationsOfATableAreNamedAlike() {
        let routes = Endpoints.all.filter { $0.path.hasPrefix("/v1/outbound-ips") }
            .map { "\($0.method) \($0.path) \($0.operation)" }
        #expect(
            routes == [
                "get /v1/outbound-ips listOutboundIPs", "get /v1/outbound-ips/{match} showOutboundIP",
                "put /v1/outbound-ips/{match} putOutboundIP", "patch /v1/outbound-ips/{match} editOutboundIP",
                "delete /v1/outbound-ips/{match} removeOutboundIP",
            ]
        )
    }
}

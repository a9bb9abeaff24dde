// TLSResultsTests.swift — sessions are counted as reports tell them, within bounds, and come back from the disk as they were.

import JSON
import Mail
import TestSupport
import Testing

@testable import Departure

struct TLSResultsTests {
    private let noon = Timestamp(milliseconds: 20_000 * 86_400_000 + 43_200_000)
    private let sts = TLSReportPolicy(.sts, lines: ["version: STSv1", "mode: testing"], hosts: ["*.mx.test"])

    private func session(
        _ domain: String,
        _ policy: TLSReportPolicy = TLSReportPolicy(.none),
        _ fault: TLSFault? = nil,
        mx: String = "a.mx.test",
        words: String? = nil
    ) -> TLSSession {
        var session = TLSSession(Domain(unchecked: domain), policy, mx: mx)
        (session.ip, session.fault, session.words) = (IPAddress("192.0.2.1"), fault, words)
        return session
    }

    @Test func aReportSaysWhatWasCounted() throws {
        var results = TLSResults()
        for _ in 0..<5 { results.add(session("b.test", sts), at: noon) }
        for _ in 0..<2 { results.add(session("b.test", sts, .expired, words: "it is over"), at: noon) }
        results.add(session("b.test", sts, .hostMismatch), at: noon)
        results.add(session("b.test"), at: noon)
        let policies = try #require(results.policies(of: Domain(unchecked: "b.test"), on: 20_000)).elements
        #expect(policies.map { $0["policy"]?["policy-type"]?.string } == ["no-policy-found", "sts"])
        let told = policies[1]
        #expect(told["policy"]?["policy-domain"]?.string == "b.test")
        #expect(told["policy"]?["policy-string"]?.elements.compactMap(\.string) == sts.lines)
        #expect(told["policy"]?["mx-host"]?.elements.compactMap(\.string) == sts.hosts)
        #expect(told["summary"]?["total-successful-session-count"]?.integer == 5)
        #expect(told["summary"]?["total-failure-session-count"]?.integer == 3)
        let details = told["failure-details"]?.elements ?? []
        #expect(
            Set(details.compactMap { $0["result-type"]?.string }) == [
                "certificate-expired", "certificate-host-mismatch",
            ]
        )
        #expect(details.compactMap { $0["failed-session-count"]?.integer }.sorted() == [1, 2])
        #expect(details.allSatisfy { $0["receiving-mx-hostname"]?.string == "a.mx.test" })
    }

    @Test func aDayEndsAtMidnightUTC() {
        var results = TLSResults()
        results.add(session("b.test"), at: Timestamp(milliseconds: 20_001 * 86_400_000 - 1))
        results.add(session("b.test"), at: Timestamp(milliseconds: 20_001 * 86_400_000))
        #expect(results.due(before: 20_001).map(\.day) == [20_000])
        #expect(results.due(before: 20_002).map(\.day) == [20_000, 20_001])
        #expect(TLSResults.date(20_000) == "2024-10-04")
        results.drop(Domain(unchecked: "b.test"), of: 20_000)
        results.drop(Domain(unchecked: "b.test"), of: 20_001)
        #expect(results.isEmpty)
    }

    @Test func whatPeersSayTakesBoundedRoom() {
        var results = TLSResults()
        for number in 0..<10_500 { results.add(session("d\(number).test"), at: noon) }
        #expect(results.due(before: .max).count == 10_000)
        let isOneMore = results.add(session("one-more.test"), at: noon)
        let isKnown = results.add(session("d1.test"), at: noon)
        #expect(!isOneMore && isKnown)
        var one = TLSResults()
        for number in 0..<500 {
            let long = String(repeating: "w", count: 5_000)
            one.add(session("b.test", sts, .validation, mx: "mx\(number).test", words: long), at: noon)
            one.add(session("b.test", TLSReportPolicy(.tlsa, lines: ["3 1 1 \(number)"])), at: noon)
        }
        let policies = one.policies(of: Domain(unchecked: "b.test"), on: 20_000)?.elements ?? []
        #expect(policies.count == 9)
        let sums = policies.compactMap { $0["summary"] }
        #expect(sums.compactMap { $0["total-successful-session-count"]?.integer }.reduce(0, +) == 500)
        #expect(sums.compactMap { $0["total-failure-session-count"]?.integer }.reduce(0, +) == 500)
        #expect((one.policies(of: Domain(unchecked: "b.test"), on: 20_000)?.text.utf8.count ?? .max) < 40_000)
    }

    @Test func theyComeBackAsTheyWere() throws {
        var random = SeededRandom(seed: 8460)
        var results = TLSResults()
        let policies = [sts, TLSReportPolicy(.none), TLSReportPolicy(.tlsa, lines: ["3 1 1 ab"])]
        for _ in 0..<2_000 {
            let fault = Bool.random(using: &random) ? TLSFault.allCases.randomElement(using: &random) : nil
            let domain = "d\(Int.random(in: 0..<9, using: &random)).test"
            let policy = policies.randomElement(using: &random) ?? sts
            let time = noon.adding(milliseconds: Int64.random(in: 0...3, using: &random) * 86_400_000)
            results.add(session(domain, policy, fault, words: fault == nil ? nil : "\"why\"\n"), at: time)
        }
        let bytes = results.json.bytes
        #expect(TLSResults(try JSON(parsing: bytes)) == results)
        // A file that others wrote is no reason to fail.
        for text in ["[]", "{}", "[{}]", #"[{"day":"2024-10-04","domain":"b.test","policies":[{"policy":{}}]}]"#] {
            #expect(TLSResults(try JSON(parsing: Array(text.utf8))).isEmpty)
        }
    }
}

// TLSReporterTests.swift — when domains are told, where, what they are told, and what follows when nobody takes it. Time is passed
// in; nothing is sent.

import Config
import DNS
import Departure
import Files
import Glibc
import HTTPClient
import JSON
import Log
import Loop
import Mail
import Synchronization
import TestSupport
import Testing

@testable import TLSReports

struct TLSReporterTests {
    private static let day: Int64 = 86_400_000
    private let start = Timestamp(milliseconds: 20_000 * day + 3_600_000)
    private let resolver = StaticResolver()
    private let disk = MemoryDisk()
    private let book = TLSResultBook()
    private let mails = Box<[(Envelope, String)]>([])
    private let posts = Box<[HTTPRequest]>([])
    private let status = Box(202)
    private let refusal = Box<String?>(nil)

    final class Box<Value: Sendable>: Sendable {
        private let value: Mutex<Value>
        init(_ value: Value) { self.value = Mutex(value) }
        var now: Value {
            get { value.withLock { $0 } }
            set { value.withLock { $0 = newValue } }
        }
    }

    private func reporter(contact: String = "tls@relay.test") throws -> TLSReporter {
        let settings = try SettingsFiles.read([
            "outbound.ini": "tls_report_contact = \(contact)\n", "me": "relay.test\n",
        ])
        let (mails, posts, status, refusal) = (mails, posts, status, refusal)
        return TLSReporter(
            book,
            settings: InForce(settings),
            resolver: InForce<any DNS.Resolver>(resolver),
            fetch: WebFetch { request in
                posts.now.append(request)
                return .success(HTTPResponse(status: status.now, headers: [], body: []))
            },
            submit: { envelope, text in
                mails.now.append((envelope, text))
                return refusal.now
            },
            path: "/data/tls-results.json",
            disk: disk,
            log: LogSink(descriptor: open("/dev/null", O_WRONLY), level: .error)
        )
    }

    private func count(_ domain: String, at time: Timestamp) {
        book.isCounting = true
        book.note(TLSSession(Domain(unchecked: domain), TLSReportPolicy(.none), mx: "mx.\(domain)"), at: time)
    }

    /// Looks each minute from one time to another.
    private func run(_ reporter: TLSReporter, from first: Timestamp, days: Int64) async {
        var time = first
        while time < first.adding(milliseconds: days * Self.day) {
            await reporter.report(at: time)
            time = time.adding(milliseconds: 600_000)
        }
    }

    @Test func aDomainIsToldOnceWhenItsDayIsOver() async throws {
        resolver.setText("_smtp._tls.b.test", ["v=TLSRPTv1; rua=mailto:tls%40b.test,https://r.test/in"])
        resolver.setAddresses("r.test", ["9.9.9.9"])
        count("b.test", at: start)
        let reporter = try reporter()
        await reporter.report(at: start.adding(milliseconds: 22 * 3_600_000))
        #expect(mails.now.isEmpty && posts.now.isEmpty)
        await run(reporter, from: start, days: 3)
        #expect(mails.now.count == 1 && posts.now.count == 1)
        #expect(book.results.isEmpty)
        #expect(book.sendings.map(\.trouble) == [nil, nil])

        let (envelope, text) = try #require(mails.now.first)
        #expect(envelope.recipients.map(\.address.description) == ["tls@b.test"])
        #expect(envelope.leastTLS == .off)
        for line in ["TLS-Report-Domain: b.test", "TLS-Report-Submitter: relay.test", "TLS-Required: No"] {
            #expect(text.contains("\r\n\(line)\r\n"))
        }
        #expect(text.contains("report-type=\"tlsrpt\"") && text.contains("relay.test!b.test!1728000000!1728086399!"))
        #expect(!text.replacingOccurrences("\r\n", "").contains("\n"))

        let post = try #require(posts.now.first)
        #expect(post.addresses == ["9.9.9.9"])
        #expect(post.headers.contains { $0.name == "Content-Type" && $0.value == "application/tlsrpt+gzip" })
        #expect(post.body?.prefix(2) == [0x1F, 0x8B])
    }

    @Test func theReportIsWhatTheStandardAsksFor() throws {
        count("b.test", at: start)
        let policies = try #require(book.results.policies(of: Domain(unchecked: "b.test"), on: 20_000))
        let contact = try #require(EmailAddress("tls@relay.test"))
        let report = TLSReport(
            Domain(unchecked: "b.test"),
            day: 20_000,
            policies: policies,
            organization: "Relay \"and\" sons",
            contact: contact,
            submitter: Domain(unchecked: "relay.test")
        )
        #expect(report.json["organization-name"]?.string == "Relay \"and\" sons")
        #expect(report.json["date-range"]?["start-datetime"]?.string == "2024-10-04T00:00:00Z")
        #expect(report.json["date-range"]?["end-datetime"]?.string == "2024-10-04T23:59:59Z")
        #expect(report.json["contact-info"]?.string == "tls@relay.test")
        #expect(report.json["report-id"]?.string == report.id)
        #expect(report.json["policies"] == policies)
        #expect(report.message(to: contact, at: start).utf8.split(separator: 0x0A).allSatisfy { $0.count < 1_000 })
    }

    @Test func nobodyIsToldWhoDoesNotAsk() async throws {
        count("quiet.test", at: start)
        await run(try reporter(), from: start, days: 2)
        #expect(mails.now.isEmpty && posts.now.isEmpty && book.results.isEmpty)
    }

    @Test func whatNobodyTookIsTriedAgainForTwoDays() async throws {
        resolver.setText("_smtp._tls.b.test", ["v=TLSRPTv1; rua=https://r.test/in"])
        resolver.setAddresses("r.test", ["9.9.9.9"])
        status.now = 503
        count("b.test", at: start)
        let reporter = try reporter()
        await run(reporter, from: start, days: 2)
        let tries = posts.now.count
        #expect((10...48).contains(tries))
        status.now = 200
        await run(reporter, from: start.adding(milliseconds: 2 * Self.day), days: 1)
        #expect(posts.now.count == tries + 1)
        #expect(book.results.isEmpty)
        count("b.test", at: start)
        await run(reporter, from: start.adding(milliseconds: 6 * Self.day), days: 1)
        #expect(posts.now.count == tries + 1 && book.results.isEmpty)
    }

    @Test func noRecordLeadsInside() async throws {
        resolver.setText(
            "_smtp._tls.b.test",
            ["v=TLSRPTv1; rua=https://inside.test/x,https://127.0.0.1/x,https://[::1]/"]
        )
        resolver.setAddresses("inside.test", ["10.0.0.8"])
        count("b.test", at: start)
        await run(try reporter(), from: start, days: 1)
        await run(try reporter(), from: start.adding(milliseconds: Self.day), days: 1)
        #expect(posts.now.isEmpty)
        #expect(
            !book.sendings.isEmpty && book.sendings.allSatisfy { $0.trouble?.contains("needs allow_private") ?? false }
        )
    }

    @Test func aLookupThatFailedIsMadeAgain() async throws {
        resolver.setText("_smtp._tls.b.test", ["v=TLSRPTv1; rua=mailto:tls@b.test"])
        resolver.fail("_smtp._tls.b.test", .timedOut)
        count("b.test", at: start)
        let reporter = try reporter()
        let after = start.adding(milliseconds: 28 * 3_600_000)
        await reporter.report(at: after)
        #expect(mails.now.isEmpty && !book.results.isEmpty)
        resolver.fail("_smtp._tls.b.test", nil)
        await reporter.report(at: after.adding(milliseconds: 60_000))
        #expect(mails.now.isEmpty)
        await reporter.report(at: after.adding(milliseconds: 3_600_000))
        #expect(mails.now.count == 1)
    }

    @Test func countsOutliveTheProcess() throws {
        count("b.test", at: start)
        let before = book.results
        try reporter().save(at: start)
        let later = TLSResultBook()
        let settings = try SettingsFiles.read([
            "outbound.ini": "tls_report_contact = tls@relay.test\n", "me": "relay.test\n",
        ])
        TLSReporter(
            later,
            settings: InForce(settings),
            resolver: InForce<any DNS.Resolver>(resolver),
            fetch: WebFetch { _ in .failure(HTTPError(.broken, "not here")) },
            submit: { _, _ in nil },
            path: "/data/tls-results.json",
            disk: disk,
            log: LogSink(descriptor: open("/dev/null", O_WRONLY), level: .error)
        ).load()
        #expect(later.results == before && !before.isEmpty)
        #expect(later.isCounting)
    }

    @Test func nothingIsCountedWithoutAContact() throws {
        let reporter = try reporter(contact: "")
        reporter.load()
        book.note(TLSSession(Domain(unchecked: "b.test"), TLSReportPolicy(.none), mx: "mx.b.test"), at: start)
        #expect(book.results.isEmpty)
    }
}

extension String {
    fileprivate func replacingOccurrences(_ old: String, _ new: String) -> String {
        split(separator: old, omittingEmptySubsequences: false).joined(separator: new)
    }
}

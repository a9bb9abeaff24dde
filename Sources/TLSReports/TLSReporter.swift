// TLSReporter.swift — tells domains once a day how mail to them was protected: when the day is over (UTC), to the places that
// their DNS names, by mail or HTTPS (TLSRPT, RFC 8460).
//
// Guarantees: one domain at a time, at most so many each second; what could not be told is tried again until the day is two
// days old; a count is on disk within a minute; nothing that a domain's DNS says leads to an address that the world cannot see.

package import Config
import CoreMetrics
package import DNS
package import Departure
package import Files
import HTTPClient
import JSON
package import Log
package import Loop
package import Mail
import Metrics
import Synchronization

/// Sends reports while the relay runs.
package final class TLSReporter: Sendable {
    /// Milliseconds between two writes of the counts, and between two tries of what could not be sent.
    private static let pause: Int64 = 60_000, again: Int64 = 3_600_000
    /// Reports do not all begin at midnight: up to four hours later, the same for one relay each day (RFC 8460 §4.1).
    private static let spread: UInt64 = 4 * 3_600_000
    /// Days after which nobody is told any more (RFC 8460 §5.5 has a day of tries).
    private static let lateness: Int64 = 2
    private static let largestFile = 64 << 20

    private struct State {
        var nextSave = Timestamp(milliseconds: 0)
        var nextLook = Timestamp(milliseconds: 0)
        var isBusy = false
        /// Who could not be told, and when to try again.
        var late: [Domain: Timestamp] = [:]
    }

    private let book: TLSResultBook
    private let settings: InForce<Settings>
    private let resolver: InForce<any DNS.Resolver>
    private let fetch: WebFetch
    private let submit: @Sendable (Envelope, String) async -> String?
    private let path: String
    private let disk: any Disk
    private let log: LogSink
    private let state = Mutex(State())

    /// - Parameters:
    ///   - book: where deliveries note their sessions.
    ///   - settings: those in force.
    ///   - resolver: the one in force.
    ///   - fetch: HTTPS.
    ///   - submit: queues a message; nil when it is durable, or why it could not be.
    ///   - path: of the file that outlives a restart.
    package init(
        _ book: TLSResultBook,
        settings: InForce<Settings>,
        resolver: InForce<any DNS.Resolver>,
        fetch: WebFetch,
        submit: @escaping @Sendable (Envelope, String) async -> String?,
        path: String,
        disk: any Disk,
        log: LogSink
    ) {
        (self.book, self.settings, self.resolver, self.fetch, self.submit) = (book, settings, resolver, fetch, submit)
        (self.path, self.disk, self.log) = (path, disk, log)
    }

    /// Makes the series, so that they are there from the start.
    package static func declareMetrics() {
        sent(isTaken: true).increment(by: 0)
        sent(isTaken: false).increment(by: 0)
    }

    private static func sent(isTaken: Bool) -> Counter {
        Counter(label: "martlet_tls_reports_total", dimensions: [("result", isTaken ? "sent" : "failed")])
    }

    /// Reads what an earlier process counted.
    ///
    /// Blocks.
    package func load() {
        setCounting()
        // Nobody has counted yet, or it is counted anew.
        guard let bytes = try? disk.contents(of: path, limit: Self.largestFile),
            let json = try? JSON(parsing: bytes, within: JSONBounds(values: 4_000_000, memory: 512 << 20))
        else { return }
        book.restore(TLSResults(json))
    }

    /// Writes what was counted since the last time.
    ///
    /// Blocks.
    package func save(at now: Timestamp) {
        guard let json = book.changes(at: now) else { return }
        do throws(DiskError) {
            try disk.replace(path, with: json.bytes, permissions: 0o600)
        } catch {
            log.write(.warning, "results of TLS could not be written") { $0.add(.reason, "\(error)") }
        }
    }

    private func setCounting() { book.isCounting = settings.ask { $0.outbound.tlsReportContact != nil } }

    /// Once a second, on a thread that may block.
    package func tick(at now: Timestamp) {
        setCounting()
        let (saves, looks) = state.withLock { state in
            let saves = now >= state.nextSave
            if saves { state.nextSave = now.adding(milliseconds: Self.pause) }
            let looks = now >= state.nextLook && !state.isBusy
            if looks { state.isBusy = true }
            return (saves, looks)
        }
        if saves { save(at: now) }
        guard looks else { return }
        Task {
            await report(at: now)
            self.state.withLock { $0.isBusy = false }
        }
    }

    /// Tells the next domain that is due, and says when to look again.
    package func report(at now: Timestamp) async {
        guard let (day, domain) = next(at: now) else {
            return state.withLock { $0.nextLook = now.adding(milliseconds: Self.pause) }
        }
        let isDone = await tell(domain, of: day, at: now)
        state.withLock { state in
            if isDone { state.late[domain] = nil } else { state.late[domain] = now.adding(milliseconds: Self.again) }
        }
        if isDone { book.drop(domain, of: day) }
    }

    private func next(at now: Timestamp) -> (day: Int64, domain: Domain)? {
        let shift = settings.ask {
            $0.me.name.utf8.reduce(UInt64(14_695_981_039_346_656_037)) { ($0 ^ UInt64($1)) &* 1_099_511_628_211 }
        }
        let begun = TLSResults.day(of: now.adding(milliseconds: -Int64(shift % Self.spread)))
        let late = state.withLock { $0.late }
        for (day, domain) in book.results.due(before: begun) {
            if begun - day > Self.lateness {
                // Nobody wants to hear of it any more.
                book.drop(domain, of: day)
                state.withLock { $0.late[domain] = nil }
                continue
            }
            if let time = late[domain], now < time { continue }
            return (day, domain)
        }
        return nil
    }

    /// - Returns: false when it is worth another try.
    private func tell(_ domain: Domain, of day: Int64, at now: Timestamp) async -> Bool {
        let (contact, organization, me) = settings.ask {
            ($0.outbound.tlsReportContact, $0.outbound.tlsReportOrganization, $0.me)
        }
        guard let contact, let policies = book.results.policies(of: domain, on: day) else { return true }
        let targets: [ReportTarget]
        do throws(DNSError) {
            targets = ReportTarget.read(try await resolver.current.text(of: ReportTarget.name(of: domain)).value)
        } catch {
            return error == .noSuchName
        }
        guard !targets.isEmpty else { return true }
        let report = TLSReport(
            domain,
            day: day,
            policies: policies,
            organization: organization.isEmpty ? me.name : organization,
            contact: contact,
            submitter: me
        )
        var isTold = false
        for target in targets {
            let trouble = await send(report, to: target, at: now)
            note(trouble, target, report, at: now)
            isTold = isTold || trouble == nil
        }
        // Who has it at one place does not get it twice there because another one is away.
        return isTold
    }

    private func send(_ report: TLSReport, to target: ReportTarget, at now: Timestamp) async -> String? {
        switch target {
        case .mail(let address):
            var envelope = Envelope(
                sender: .address(report.contact),
                recipients: [Recipient(address, notify: .never)],
                isEightBit: true
            )
            envelope.notes.caller = Notes.tlsReporter
            return await submit(envelope, report.message(to: address, at: now))
        case .web(let url): return await post(report, to: url)
        }
    }

    private func post(_ report: TLSReport, to text: String) async -> String? {
        let (bytes, type, _) = report.body
        var request = HTTPRequest("POST", text, body: bytes)
        request.headers = [("Content-Type", type), ("User-Agent", "Martlet")]
        request.maxResponseBytes = 16 << 10
        request.cutsLongBody = true
        do {
            let url = try WebURL(text)
            request.addresses = try await AddressGuard.addresses(of: url, allowsPrivate: false, resolver.current)
                .map(\.description)
        } catch let refusal as AddressGuard.Refusal {
            return refusal.reason
        } catch {
            return "\(error)"
        }
        switch await fetch(request) {
        case .success(let response):
            return (200..<300).contains(response.status) ? nil : "answered with status \(response.status)"
        case .failure(let error): return error.text
        }
    }

    private func note(_ trouble: String?, _ target: ReportTarget, _ report: TLSReport, at now: Timestamp) {
        Self.sent(isTaken: trouble == nil).increment()
        book.add(TLSResultBook.Sending(at: now, report.domain, to: target.description, trouble: trouble))
        log.write(
            trouble == nil ? .info : .warning,
            trouble == nil ? "report on TLS sent" : "report on TLS could not be sent"
        ) { line in
            line.add(.domain, report.domain.name)
            line.add(.to, target.description)
            if let trouble { line.add(.reason, trouble) }
        }
    }
}

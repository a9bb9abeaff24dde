// TLSResults.swift — how sessions with next hops were protected, counted by day, domain and policy, as a report tells it (TLSRPT,
// RFC 8460). A pure value with its JSON, which is that of the reports.
//
// Guarantees: bounded, whatever peers and the DNS say: so many domains a day, policies a domain and faults a policy; what is
// beyond is counted without its particulars, or as domains that were left out.

package import JSON
package import Mail

/// What kept a session from being as a policy wants it.
///
/// The raw value is the word of reports.
/// - Source: RFC 8460 §4.3
package enum TLSFault: String, Hashable, Sendable, CaseIterable {
    case notOffered = "starttls-not-supported"
    case hostMismatch = "certificate-host-mismatch"
    case expired = "certificate-expired"
    case notTrusted = "certificate-not-trusted"
    case validation = "validation-failure"
    case dnssecInvalid = "dnssec-invalid"
    case daneRequired = "dane-required"
}

/// What a domain had said about the protection of its mail when a session was opened.
///
/// - Source: RFC 8460 §4.4
package struct TLSReportPolicy: Hashable, Sendable {
    /// Which kind; the raw value is the word of reports.
    package enum Kind: String, Hashable, Sendable {
        case tlsa, sts
        case none = "no-policy-found"
    }

    package let kind: Kind
    /// The lines of an MTA-STS policy, or the TLSA records.
    package let lines: [String]
    /// The patterns of an MTA-STS policy.
    package let hosts: [String]

    package init(_ kind: Kind, lines: [String] = [], hosts: [String] = []) {
        (self.kind, self.lines, self.hosts) = (kind, lines, hosts)
    }
}

/// What became of one session.
package struct TLSSession: Hashable, Sendable {
    package let domain: Domain
    package let policy: TLSReportPolicy
    package let mx: String
    package var ip: IPAddress?
    package var source: IPAddress?
    /// nil: it stood, and was protected.
    package var fault: TLSFault?
    /// Why, in words; cut to 200 bytes.
    package var words: String?

    package init(_ domain: Domain, _ policy: TLSReportPolicy, mx: String) {
        (self.domain, self.policy, self.mx) = (domain, policy, mx)
    }
}

/// Counts of sessions.
package struct TLSResults: Hashable, Sendable {
    private static let mostDays = 8, mostDomains = 10_000, mostPolicies = 8, mostFaults = 50, longestWords = 200

    /// Faults that are told as one.
    private struct Detail: Hashable {
        var fault: TLSFault
        var mx: String?
        var ip: String?
        var source: String?
        var words: String?
    }

    private struct Count: Hashable {
        var successes = 0
        var faults: [Detail: Int] = [:]
    }

    /// By the number of the day since 1970, UTC.
    private var days: [Int64: [Domain: [TLSReportPolicy: Count]]] = [:]

    package init() {}

    package var isEmpty: Bool { days.isEmpty }

    /// The day of a time.
    package static func day(of time: Timestamp) -> Int64 { time.milliseconds / 86_400_000 }

    /// Counts a session.
    ///
    /// - Returns: false when it was left out, since so many domains have been counted today.
    @discardableResult
    package mutating func add(_ session: TLSSession, at time: Timestamp) -> Bool {
        let day = Self.day(of: time)
        var domains = days.removeValue(forKey: day) ?? [:]
        defer { days[day] = domains }
        if domains[session.domain] == nil, domains.count >= Self.mostDomains { return false }
        var policies = domains.removeValue(forKey: session.domain) ?? [:]
        defer { domains[session.domain] = policies }
        var policy = session.policy
        // A domain that has another policy with each look is told of as one without.
        if policies[policy] == nil, policies.count >= Self.mostPolicies { policy = TLSReportPolicy(.none) }
        var count = policies.removeValue(forKey: policy) ?? Count()
        defer { policies[policy] = count }
        guard let fault = session.fault else {
            count.successes += 1
            return true
        }
        var detail = Detail(
            fault: fault,
            mx: session.mx,
            ip: session.ip?.description,
            source: session.source?.description,
            words: session.words?.cut(octets: Self.longestWords)
        )
        if count.faults[detail] == nil, count.faults.count >= Self.mostFaults { detail = Detail(fault: fault) }
        count.faults[detail, default: 0] += 1
        return true
    }

    /// The days and domains with results before a day, in order.
    package func due(before day: Int64) -> [(day: Int64, domain: Domain)] {
        days.filter { $0.key < day }.sorted { $0.key < $1.key }.flatMap { day, domains in
            domains.keys.sorted { $0.name < $1.name }.map { (day, $0) }
        }
    }

    /// Forgets the results of a domain's day: they were reported, or nobody wants them.
    package mutating func drop(_ domain: Domain, of day: Int64) {
        days[day]?[domain] = nil
        if days[day]?.isEmpty ?? false { days[day] = nil }
    }

    /// Forgets days that nobody could be told of.
    package mutating func expire(at time: Timestamp) {
        let oldest = Self.day(of: time) - Int64(Self.mostDays)
        days = days.filter { $0.key >= oldest }
    }
}

// MARK: - JSON

extension TLSResults {
    /// `policies` of a report on a domain's day; nil: nothing was counted.
    ///
    /// - Source: RFC 8460 §4.4
    package func policies(of domain: Domain, on day: Int64) -> JSON? {
        guard let policies = days[day]?[domain] else { return nil }
        return .array(
            policies.sorted {
                ($0.key.kind.rawValue, $0.key.lines.joined()) < ($1.key.kind.rawValue, $1.key.lines.joined())
            }
            .map { Self.json($0, $1, domain) }
        )
    }

    private static func json(_ policy: TLSReportPolicy, _ count: Count, _ domain: Domain) -> JSON {
        var about: [(String, JSON)] = [
            ("policy-type", .string(policy.kind.rawValue)), ("policy-string", .strings(policy.lines)),
            ("policy-domain", .string(domain.name)),
        ]
        if !policy.hosts.isEmpty { about.append(("mx-host", .strings(policy.hosts))) }
        var whole: [(String, JSON)] = [
            ("policy", .object(of: about)),
            (
                "summary",
                [
                    "total-successful-session-count": .count(count.successes),
                    "total-failure-session-count": .count(count.faults.values.reduce(0, +)),
                ]
            ),
        ]
        let details = count.faults.map { detail, count in json(detail, count) }
        if !details.isEmpty { whole.append(("failure-details", .array(details.sorted { $0.text < $1.text }))) }
        return .object(of: whole)
    }

    private static func json(_ detail: Detail, _ count: Int) -> JSON {
        var members: [(String, JSON)] = [("result-type", .string(detail.fault.rawValue))]
        if let source = detail.source { members.append(("sending-mta-ip", .string(source))) }
        if let mx = detail.mx { members.append(("receiving-mx-hostname", .string(mx))) }
        if let ip = detail.ip { members.append(("receiving-ip", .string(ip))) }
        members.append(("failed-session-count", .count(count)))
        if let words = detail.words { members.append(("failure-reason-code", .string(words))) }
        return .object(of: members)
    }

    /// All of it, for the disk and the API.
    package var json: JSON {
        .array(
            days.keys.sorted().flatMap { day in
                (days[day] ?? [:]).keys.sorted { $0.name < $1.name }.map { domain in
                    [
                        "day": .string(Self.date(day)), "domain": .string(domain.name),
                        "policies": policies(of: domain, on: day) ?? [],
                    ]
                }
            }
        )
    }

    /// `2026-11-30`.
    package static func date(_ day: Int64) -> String {
        String(decoding: Timestamp(milliseconds: day * 86_400_000).rfc3339.utf8.prefix(10), as: UTF8.self)
    }

    /// Reads what was written; what makes no sense is left out.
    package init(_ json: JSON) {
        for entry in json.elements {
            guard let date = entry["day"]?.string, let time = Timestamp(rfc3339: date + "T00:00:00Z"),
                let domain = (entry["domain"]?.string).flatMap({ Domain($0) })
            else { continue }
            for policy in entry["policies"]?.elements ?? [] { take(policy, of: domain, at: time) }
        }
    }

    private mutating func take(_ json: JSON, of domain: Domain, at time: Timestamp) {
        guard let about = json["policy"], let kind = TLSReportPolicy.Kind(rawValue: about["policy-type"]?.string ?? "")
        else { return }
        func words(_ name: String) -> [String] { (about[name]?.elements ?? []).compactMap(\.string) }
        let policy = TLSReportPolicy(kind, lines: words("policy-string"), hosts: words("mx-host"))
        let day = Self.day(of: time)
        guard days[day]?[domain] != nil || (days[day]?.count ?? 0) < Self.mostDomains else { return }
        var count = Count()
        count.successes = max(0, json["summary"]?["total-successful-session-count"]?.integer ?? 0)
        for detail in (json["failure-details"]?.elements ?? []).prefix(2 * Self.mostFaults) {
            guard let fault = TLSFault(rawValue: detail["result-type"]?.string ?? "") else { continue }
            let read = Detail(
                fault: fault,
                mx: detail["receiving-mx-hostname"]?.string,
                ip: detail["receiving-ip"]?.string,
                source: detail["sending-mta-ip"]?.string,
                words: detail["failure-reason-code"]?.string
            )
            count.faults[read, default: 0] += max(0, detail["failed-session-count"]?.integer ?? 0)
        }
        days[day, default: [:]][domain, default: [:]][policy] = count
    }
}

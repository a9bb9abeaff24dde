// TLSReport.swift — one report: what a domain is told of a day (RFC 8460 §4.4), as JSON and as mail (§5.3). Pure.

import Compression
import Departure
package import JSON
package import Mail
import MessageFormat

/// What a domain is told of one day.
package struct TLSReport: Sendable {
    package let domain: Domain
    /// Since 1970, UTC.
    package let day: Int64
    package let policies: JSON
    /// Whose report it is.
    package let organization: String
    package let contact: EmailAddress
    /// Our own name, as the header says it.
    package let submitter: Domain

    package init(
        _ domain: Domain,
        day: Int64,
        policies: JSON,
        organization: String,
        contact: EmailAddress,
        submitter: Domain
    ) {
        (self.domain, self.day, self.policies) = (domain, day, policies)
        (self.organization, self.contact, self.submitter) = (organization, contact, submitter)
    }

    /// The same for the same day, so that one that comes twice is known.
    package var id: String { "\(TLSResults.date(day))_\(domain.name)@\(submitter.name)" }

    private var seconds: (first: Int64, last: Int64) { (day * 86_400, day * 86_400 + 86_399) }

    /// The report.
    package var json: JSON {
        [
            "organization-name": .string(organization),
            "date-range": [
                "start-datetime": .string("\(TLSResults.date(day))T00:00:00Z"),
                "end-datetime": .string("\(TLSResults.date(day))T23:59:59Z"),
            ],
            "contact-info": .string(contact.description),
            "report-id": .string(id),
            "policies": policies,
        ]
    }

    /// Its body for the wire, and the media type that says what it is.
    package var body: (bytes: [UInt8], type: String, suffix: String) {
        let text = json.bytes
        // Without memory for zlib it goes as it is, which receivers take as well (RFC 8460 §5.1).
        guard let small = Gzip.compressed(text) else { return (text, "application/tlsrpt+json", "json") }
        return (small, "application/tlsrpt+gzip", "json.gz")
    }

    /// `mail.sender.example!company-y.example!1470013207!1470186007!….json.gz`.
    ///
    /// - Source: RFC 8460 §5.1
    private func name(_ suffix: String) -> String {
        "\(submitter.name)!\(domain.name)!\(seconds.first)!\(seconds.last)!\(TLSResults.date(day)).\(suffix)"
    }

    /// The report as a message, with CRLF line ends.
    ///
    /// - Source: RFC 8460 §5.3
    package func message(to address: EmailAddress, at now: Timestamp) -> String {
        let (bytes, type, suffix) = body
        let boundary = "=_tlsrpt_\(day)_\(now.milliseconds)"
        let letters = Array(Base64.encode(bytes).utf8)
        let lines = stride(from: 0, to: letters.count, by: 76).map {
            String(decoding: letters[$0..<min($0 + 76, letters.count)], as: UTF8.self)
        }
        let date = TLSResults.date(day)
        return EncodedWords.field("From", EncodedWords.phrase(organization) + " <\(contact)>")
            + "To: \(address)\r\n"
            + EncodedWords.field(
                "Subject",
                "Report Domain: \(domain.name) Submitter: \(submitter.name) Report-ID: <\(id)>"
            )
                + """
                Date: \(MailDate.text(now))\r
                Message-ID: <tlsrpt.\(day).\(now.milliseconds).\(domain.name)@\(submitter.name)>\r
                Auto-Submitted: auto-generated\r
                TLS-Report-Domain: \(domain.name)\r
                TLS-Report-Submitter: \(submitter.name)\r
                TLS-Required: No\r
                MIME-Version: 1.0\r
                Content-Type: multipart/report; report-type="tlsrpt";\r
                \tboundary="\(boundary)"\r
                \r
                This is a report in MIME format.\r
                \r
                --\(boundary)\r
                Content-Type: text/plain; charset=utf-8\r
                Content-Transfer-Encoding: 8bit\r
                \r
                This is a report on the encryption of mail for \(domain.name) on \(date) (UTC),\r
                from \(submitter.name), as your record _smtp._tls.\(domain.name) asks for (RFC 8460).\r
                \r
                --\(boundary)\r
                Content-Type: \(type)\r
                Content-Transfer-Encoding: base64\r
                Content-Disposition: attachment; filename="\(name(suffix))"\r
                \r
                \(lines.joined(separator: "\r\n"))\r
                --\(boundary)--\r

                """
    }
}

// LimitProfile.swift — what is known of the big providers and smart hosts, as sections of `limits.ini`: each line with where it
// was read, and when. Nothing of it is in force until it stands in the file.

package import Mail

/// One provider, as we would limit it.
package struct LimitProfile: Hashable, Sendable {
    /// One key.
    package struct Line: Hashable, Sendable {
        package let key: LimitTerms.Key
        package let value: String
        /// Where it was read, and when: `postmaster.comcast.net, 2026-11-30`.
        package let source: String

        init(_ key: LimitTerms.Key, _ value: String, _ source: String) {
            (self.key, self.value, self.source) = (key, value, source)
        }
    }

    /// The name of its section: `[provider google]`.
    package let name: String
    /// In words.
    package let title: String
    package let hosts: [String]
    package let lines: [Line]

    package var scope: LimitScope { .provider(name) }

    /// As it stands in the file.
    package var text: String {
        let lines = lines.map { "; \($0.source)\n\($0.key.rawValue) = \($0.value)\n" }
        return "; \(title)\n[provider \(name)]\nmx = \(hosts.joined(separator: ", "))\n\(lines.joined())"
    }

    /// What a file has otherwise.
    package enum Difference: Hashable, Sendable {
        /// There is no such section.
        case missing
        case hosts(theirs: [String])
        /// nil: the file does not say it.
        case value(Line, theirs: String?)
    }

    /// What a file has otherwise; empty where it has the same.
    ///
    /// Keys that a profile does not know are the user's own.
    package func differences(from entries: [LimitEntry]) -> [Difference] {
        guard let entry = entries.first(where: { $0.scope == scope }) else { return [.missing] }
        let isSame = Set(entry.hosts.map(\.lowercasedASCII)) == Set(hosts)
        let values = lines.compactMap { line -> Difference? in
            let theirs = entry.values[line.key]
            return theirs?.isSame(octets: line.value) ?? false ? nil : .value(line, theirs: theirs)
        }
        return (isSame ? [] : [.hosts(theirs: entry.hosts)]) + values
    }

    // MARK: what is known

    private static let shaping = "KumoMTA policy-extras/shaping.toml, 2026-08-04"
    private static let own = "no figure is published; our own caution, 2026-11-30"

    /// All of them, in the order in which they are listed.
    package static let shipped: [LimitProfile] = [
        LimitProfile(
            name: "google",
            title: "Gmail and Google Workspace",
            hosts: ["*.google.com", "*.googlemail.com"],
            lines: [Line(.connections, "5", shaping), Line(.perConnection, "50", shaping)]
        ),
        LimitProfile(
            name: "outlook",
            title: "Outlook.com, Hotmail, Live",
            hosts: ["*.olc.protection.outlook.com"],
            lines: [Line(.connections, "5", shaping), Line(.perConnection, "50", shaping)]
        ),
        LimitProfile(
            name: "microsoft365",
            title: "Microsoft 365, as recipient",
            hosts: ["*.mail.protection.outlook.com", "*.mx.microsoft"],
            lines: [Line(.connections, "5", shaping), Line(.perConnection, "50", shaping)]
        ),
        LimitProfile(
            name: "yahoo",
            title: "Yahoo, AOL",
            hosts: ["*.yahoodns.net"],
            lines: [Line(.perConnection, "20", "senders.yahooinc.com/best-practices, by \(shaping)")]
        ),
        LimitProfile(
            name: "apple",
            title: "iCloud, me.com, mac.com",
            hosts: ["*.icloud.com"],
            lines: [Line(.connections, "10", shaping), Line(.perConnection, "5", shaping)]
        ),
        LimitProfile(
            name: "orange",
            title: "Orange, Wanadoo",
            hosts: ["*.orange.fr", "*.wanadoo.fr"],
            lines: [Line(.connections, "2", shaping), Line(.perConnection, "100", shaping)]
        ),
        LimitProfile(
            name: "gmx",
            title: "GMX and WEB.DE",
            hosts: ["*.gmx.net", "*.web.de"],
            lines: [Line(.connections, "10", own), Line(.perConnection, "100", own)]
        ),
        LimitProfile(
            name: "mailru",
            title: "Mail.ru",
            hosts: ["*.mail.ru"],
            lines: [Line(.connections, "10", own), Line(.perConnection, "100", own)]
        ),
        LimitProfile(
            name: "qq",
            title: "QQ, Foxmail",
            hosts: ["*.qq.com"],
            lines: [Line(.connections, "5", own), Line(.perConnection, "50", own)]
        ),
        LimitProfile(
            name: "comcast",
            title: "Comcast, Xfinity",
            hosts: ["*.comcast.net"],
            lines: [
                Line(.connections, "25", "postmaster.comcast.net, avoidblocks, 2026-11-30"),
                Line(.perConnection, "1000", shaping),
                Line(.recipients, "100", "postmaster.comcast.net, avoidblocks, 2026-11-30"),
            ]
        ),
        LimitProfile(
            name: "smtp-office365",
            title: "Microsoft 365 as smart host: one mailbox",
            hosts: ["smtp.office365.com", "smtp-mail.outlook.com"],
            lines: [
                Line(.connections, "3", "MicrosoftDocs/OfficeDocs-Support#1150, 2026-11-29"),
                Line(.rate, "30/m", "MicrosoftDocs/OfficeDocs-Support#1150, 2026-11-29"),
                Line(.daily, "10k", "MicrosoftDocs/OfficeDocs-Support#1150, recipients, 2026-11-29"),
            ]
        ),
        LimitProfile(
            name: "smtp-ses",
            title: "Amazon SES as smart host, in the sandbox; outside of it the console says what the account may",
            hosts: ["*.amazonaws.com"],
            lines: [
                Line(.rate, "1/s", "docs.aws.amazon.com/ses/latest/dg/quotas.html, 2026-11-30"),
                Line(.daily, "200", "docs.aws.amazon.com/ses/latest/dg/quotas.html, 2026-11-30"),
            ]
        ),
        LimitProfile(
            name: "smtp-sendgrid",
            title: "SendGrid as smart host",
            hosts: ["smtp.sendgrid.net"],
            lines: [
                Line(.connections, "10000", "docs.sendgrid.com, integrating with the SMTP API, 2026-11-30"),
                Line(.perConnection, "5000", "docs.sendgrid.com, integrating with the SMTP API, 2026-11-30"),
            ]
        ),
        LimitProfile(
            name: "smtp-mailgun",
            title: "Mailgun as smart host",
            hosts: ["smtp.mailgun.org", "smtp.eu.mailgun.org", "smtp.mailgun.com"],
            lines: [
                Line(.connections, "7000", "by Mailgun, in \(shaping)"),
                Line(.perConnection, "3", "by Mailgun, in \(shaping)"),
            ]
        ),
    ]
}

// ForeignKeys.swift — keys and lists of Haraka's files that stand in files of ours: each with what to write instead.
//
// A key that only arranged something is a warning. One that protected mail or clients stops the start: a relay that goes on
// without what somebody asked for would do so in silence for years.

import Mail

/// What Haraka calls otherwise, in files that have the same name here.
package enum ForeignKeys {
    /// What becomes of such a line.
    package enum Verdict: Hashable, Sendable {
        /// It counts for nothing; the text says what to write instead.
        case remark(String)
        /// It protected somebody, and nothing here would.
        case refused(String)
    }

    private typealias Answer = @Sendable (_ value: String) -> Verdict

    /// Sections that are lists, a line each, by file.
    private static let lists: [String: [String: String]] = [
        TLSSettings.file: [
            "no_tls_hosts":
                "clients that STARTTLS was not offered to; here it is offered to all, and nobody has to use it",
            "mutual_auth_hosts": "clients that a certificate is asked of; requestCert = true asks all, and takes any",
            "mutual_auth_hosts_exclude": "clients that no certificate is asked of; requestCert asks all or none",
        ]
    ]

    /// The verdict on a line that is `key = value`; nil when it is nobody's.
    package static func verdict(_ entry: INIDocument.Entry, in file: String) -> Verdict? {
        let section = entry.section == "main" ? nil : entry.section
        if let section, let list = lists[file]?[section] { return .remark("[\(section)] lists \(list)") }
        // `key[] = value` is a member of a list.
        let key = String(entry.key.rest(before: "[]") ?? entry.key[...])
        let answer = table(file, section)?[key] ?? (section == nil ? nil : table(file, section)?["*"])
        return answer?(entry.value)
    }

    /// The remark on a line that is no `key = value`, in a section that is a list; nil where none is expected.
    static func remark(onLineOf section: String?, in file: String) -> String? {
        section.flatMap { name in lists[file]?[name].map { "[\(name)] lists \($0)" } }
    }

    private static func table(_ file: String, _ section: String?) -> [String: Answer]? {
        switch (file, section) {
        case (ListenerSettings.file, nil): listener
        case (ListenerSettings.file, "headers"): listenerHeaders
        case (TLSSettings.file, nil): reception
        case (TLSSettings.file, "outbound"): delivery
        case (TLSSettings.file, "redis"):
            ["*": { _ in .remark("a host whose TLS fails is remembered for ten minutes, without Redis") }]
        case (DKIMSettings.file, "sign"): signing
        case (DKIMSettings.file, "canon"): ["*": { _ in .remark("signatures are relaxed/relaxed") }]
        case (DKIMSettings.file, "verify"):
            ["*": { _ in .remark("a relay for mail that leaves verifies no signatures") }]
        default: nil
        }
    }

    // MARK: - smtp.ini

    private static let listener: [String: Answer] = [
        "port": { port in .remark("write listen = 0.0.0.0:\(number(port, 25)), [::]:\(number(port, 25))") },
        "smtps_port": { port in
            .remark("write smtps_listen = 0.0.0.0:\(number(port, 465)), [::]:\(number(port, 465))")
        },
        "listen_host": { _ in .remark("write listen = address:port") },
        "nodes": { _ in .remark("one process uses all processors; threads says how many") },
        "daemonize": { _ in .remark("it stays in the foreground, for systemd or a container engine (Install.md)") },
        "daemon_log_file": { _ in .remark("the log goes to standard error") },
        "daemon_pid_file": { _ in .remark("it stays in the foreground; the data directory has a lock") },
        "spool_dir": { _ in .remark("the queue is below the data directory (serve --data)") },
        "spool_after": { _ in .remark("write in_memory_bytes below [limits]") },
        "inactivity_timeout": { seconds in .remark("write command = \(number(seconds, 300)) below [timeouts]") },
        "force_shutdown_timeout": { _ in
            .remark("SIGTERM ends what is in flight; the service manager has the last word")
        },
        "graceful_shutdown": { _ in .remark("every stop is one") },
        "public_ip": { _ in .remark("nothing here asks for it; outbound_ip.ini has addresses to send from") },
        "ignore_bad_plugins": { _ in .remark("a plugin that is not there stops the start") },
        "strict_rfc1869": { _ in .remark("angle brackets are always asked for") },
        "smtputf8": { _ in .remark("SMTPUTF8 is always offered") },
        "proxy_protocol": { _ in .remark("has no counterpart: the address that connects is the one that counts") },
        "max_received_count": { count in .remark("write received_headers = \(number(count, 100)) below [limits]") },
    ]

    private static let listenerHeaders: [String: Answer] = [
        "max_received": { count in .remark("write received_headers = \(number(count, 100)) below [limits]") },
        "max_lines": { _ in .remark("write header_bytes below [limits]") },
        "*": { _ in .remark("one Received line is added, without a version") },
    ]

    // MARK: - tls.ini

    private static let reception: [String: Answer] = [
        "dhparam": { _ in .remark("key exchange is by elliptic curves") },
        "secureProtocol": { _ in .remark("write minVersion") },
        "requestOCSP": { _ in .remark("has no counterpart") },
        "enableOCSPStapling": { _ in .remark("has no counterpart") },
        "sessionIdContext": { _ in .remark("has no counterpart") },
        "no_tls_hosts": { _ in .remark("STARTTLS is offered to all, and nobody has to use it") },
        "mutual_tls": { _ in .remark("write requestCert = true, and fingerprints into relay_acl_certs") },
        "rejectUnauthorized": { value in
            isYes(value) ? .refused(certificates("clients")) : .remark("clients without a certificate are served")
        },
        "requireAuthorized": { port in .refused(certificates("clients of port \(number(port, 465))")) },
        "force_tls_hosts": { host in .refused(forced(host)) },
    ]

    private static let delivery: [String: Answer] = [
        "force_tls_hosts": { host in .refused(forced(host)) },
        "no_tls_hosts": { host in
            .remark("write tls = off into a section of routes.ini that names \(named(host))")
        },
        "rejectUnauthorized": { value in
            guard isYes(value) else { return .remark("a route's tls says whether a certificate matters") }
            return .refused(
                "every server had to show a certificate that can be verified, and nothing here asks for it: write tls = "
                    + "verify into the sections of routes.ini and take this line away"
            )
        },
        "minVersion": { _ in .remark("TLS 1.2 is the least that is spoken to servers") },
        "*": { _ in .remark("no certificate is shown to servers, and what is spoken to them is fixed: TLS 1.2 and 1.3")
        },
    ]

    private static func certificates(_ whom: String) -> String {
        "\(whom) had to show a certificate that can be verified, and nothing here asks for it: write requestCert = true, "
            + "leave those clients out of relay_acl_allow and put the fingerprints of their certificates into "
            + "relay_acl_certs; then take this line away"
    }

    private static func forced(_ host: String) -> String {
        "mail to \(named(host)) had to go over TLS, and nothing here asks for it: write tls = require into a section of "
            + "routes.ini with its hosts as mx, then take this line away"
    }

    // MARK: - dkim.ini

    private static let signing: [String: Answer] = [
        "enabled": { value in
            guard isYes(value) else { return .remark("without a section [domain] nothing is signed") }
            return .refused(
                "mail was signed, and would not be: `martlet import haraka` takes keys over; or write [domain] and "
                    + "selectors = …, put each key into dkim/DOMAIN/SELECTOR.pem, and take [sign] away"
            )
        },
        "headers": { _ in .remark("write headers before any section") },
        "*": { _ in .remark("write [domain] and selectors = …; the key is dkim/DOMAIN/SELECTOR.pem") },
    ]

    // MARK: - Words

    /// Whether a value is one of Haraka's words for yes.
    package static func isYes(_ value: String) -> Bool {
        ["true", "yes", "on", "ok", "enabled", "1"].contains { value.lowercasedASCII.isSame(octets: $0) }
    }

    private static func number(_ value: String, _ usual: Int) -> Int { ValueParsing.digits(value) ?? usual }

    private static func named(_ host: String) -> String { host.isEmpty ? "some hosts" : ValueParsing.shown(host) }
}

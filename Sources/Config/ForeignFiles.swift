// ForeignFiles.swift — files of a Haraka configuration that are not read here: each is named, with what takes its place.
//
// Whoever copies a directory should not have to find out by accident that a limit or a route in it does not hold.

import Mail

/// Files that mean something to Haraka and nothing here.
enum ForeignFiles {
    private static let forwarding = "write [*] and a section for each domain in routes.ini"
    private static let users = "users are in auth_flat_file.ini; `martlet passwd` writes it"
    private static let clients = "who may relay is in relay_acl_allow, auth_flat_file.ini and relay_acl_certs"
    private static let senders =
        "allowed_sender_domains of smtp.ini and constrain_sender of auth_flat_file.ini bind senders"
    private static let routes = "write sections in routes.ini"
    private static let report = "a report has one text, outbound.bounce_message"
    private static let level = "serve has --log-level and --log-format"

    /// What to do instead, by name.
    private static let known: [(file: String, instead: String)] = [
        ("plugins", "hooks.ini names plugins; most of Haraka's are built in (FromHaraka.md)"),
        ("queue_dir", "the queue is below the data directory (serve --data)"),
        ("smtp_proxy.ini", forwarding),
        ("smtp_bridge.ini", "clients' logins are not passed on; \(forwarding), with a login of its own"),
        ("lmtp.ini", "write sections with using_lmtp = true in routes.ini"),
        ("rcpt_to.routes.ini", routes),
        ("relay_dest_domains.ini", routes),
        ("relay.ini", clients),
        ("access.ini", clients),
        ("mail_from.access.ini", senders),
        ("mail_from.access.blacklist", senders),
        ("mail_from.access.whitelist", senders),
        ("rcpt_to.blocklist", "no list refuses recipients; a program for queue_outbound can (hooks.ini)"),
        ("auth_ldap.ini", users),
        ("auth_vpopmaild.ini", users),
        ("auth_imap.ini", users),
        ("auth_proxy.ini", users),
        ("auth_enc_file.ini", users),
        ("auth_sql.ini", users),
        ("limit.ini", "write concurrency_per_lane in outbound.ini and [limits] in smtp.ini"),
        ("rate_limit.ini", "write concurrency_per_lane in outbound.ini and [limits] in smtp.ini"),
        ("connection.ini", "write [limits] and [timeouts] in smtp.ini"),
        ("max_unrecognized_commands", "write errors below [limits] in smtp.ini"),
        ("vmta.ini", "write sections in outbound_ip.ini"),
        ("dkim_sign.ini", "martlet dkim generate writes dkim.ini"),
        ("dkim_verify.ini", "a relay for mail that leaves verifies no signatures"),
        ("smtpgreeting", "the greeting is the name in me"),
        ("ehlo_hello_message", "EHLO is answered with the name in me"),
        ("haproxy_hosts", "no proxy's word about a client's address is taken"),
        ("log.ini", level),
        ("loglevel", level),
        ("logformat", level),
        ("log.syslog.ini", "the log goes to standard error; systemd and container engines pass it on"),
        ("http.ini", "admin.ini says where the API listens"),
        ("watch.ini", "the API and /metrics show what happens"),
        ("outbound.bounce_message_html", report),
        ("outbound.bounce_message_image", report),
    ]

    /// A warning for each that is there; files with one value, `outbound.concurrency_max`, included.
    static func warnings(_ source: any ConfigSource) -> [ConfigError] {
        let single = (OutboundSettings.keys + OutboundSettings.quietKeys).map { key in
            (file: "outbound.\(key.name)", instead: "write \(key.name) in outbound.ini")
        }
        let plain = (known + single).filter { source.stamp(of: $0.file) != nil }.map {
            ConfigError(file: $0.file, reason: "is not read; \($0.instead)")
        }
        return ([size(source), forward(source)].compactMap(\.self) + plain).map { warning in
            let importable = ["smtp_forward.ini", "rcpt_to.routes.ini", "dkim_sign.ini"].contains {
                $0.isSame(octets: warning.file)
            }
            guard importable else { return warning }
            return ConfigError(file: warning.file, reason: "\(warning.reason); `martlet import haraka` does it")
        }
    }

    /// `databytes`: the largest message, 0 for any.
    private static func size(_ source: any ConfigSource) -> ConfigError? {
        let file = "databytes"
        guard let text = text(file, source) else { return nil }
        let standard = ListenerSettings().messageBytes
        guard let bytes = PlainLines.of(text).first.flatMap({ ValueParsing.digits($0.text) }), bytes > 0 else {
            return ConfigError(
                file: file,
                reason:
                    "is not read; message_bytes below [limits] in smtp.ini is the largest message, \(standard) by default"
            )
        }
        return ConfigError(
            file: file,
            reason:
                "is not read; write message_bytes = \(bytes) below [limits] in smtp.ini, or \(standard) bytes are taken"
        )
    }

    /// `smtp_forward.ini`: where everything went.
    private static func forward(_ source: any ConfigSource) -> ConfigError? {
        let file = "smtp_forward.ini"
        guard let text = text(file, source) else { return nil }
        let document = INIDocument(parsing: text)
        guard let host = document.value("host", in: nil) else {
            return ConfigError(file: file, reason: "is not read; \(forwarding)")
        }
        let port = document.value("port", in: nil) ?? "25"
        return ConfigError(
            file: file,
            reason: "is not read; all mail went to \(ValueParsing.shown(host)): write [*] with mx = "
                + "\(ValueParsing.shown(host)):\(ValueParsing.shown(port)) in routes.ini, and a section for each domain"
        )
    }

    private static func text(_ file: String, _ source: any ConfigSource) -> String? {
        guard source.stamp(of: file) != nil else { return nil }
        let bytes = (try? source.contents(of: file, atMost: 1 << 20)) ?? []
        return String(decoding: bytes, as: UTF8.self)
    }
}

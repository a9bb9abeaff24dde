// ForeignFiles.swift — files of a Haraka configuration that are not read here: each is named, with what takes its place.
//
// Whoever copies a directory should not have to find out by accident that a limit or a route in it does not hold.

/// Files that mean something to Haraka and nothing here.
enum ForeignFiles {
    /// What to do instead, by name.
    private static let known: [(file: String, instead: String)] = [
        ("plugins", "hooks.ini names plugins; most of Haraka's are built in (FromHaraka.md)"),
        ("queue_dir", "the queue is below the data directory (serve --data)"),
        ("smtp_forward.ini", "write [*] and a section for each domain in routes.ini"),
        ("smtp_proxy.ini", "write [*] and a section for each domain in routes.ini"),
        ("lmtp.ini", "write sections with using_lmtp = true in routes.ini"),
        ("rcpt_to.routes.ini", "write sections in routes.ini"),
        ("relay_dest_domains.ini", "write sections in routes.ini"),
        ("relay.ini", "who may relay is in relay_acl_allow and auth_flat_file.ini"),
        ("limit.ini", "write concurrency_per_lane in outbound.ini and [limits] in smtp.ini"),
        ("connection.ini", "write [limits] and [timeouts] in smtp.ini"),
        ("vmta.ini", "write sections in outbound_ip.ini"),
        ("dkim_sign.ini", "martlet dkim generate writes dkim.ini"),
        ("log.ini", "serve has --log-level and --log-format"),
        ("loglevel", "serve has --log-level"),
        ("outbound.bounce_message_html", "a report has one text, outbound.bounce_message"),
        ("outbound.bounce_message_image", "a report has one text, outbound.bounce_message"),
    ]

    /// A warning for each that is there; files with one value, `outbound.concurrency_max`, included.
    static func warnings(_ source: any ConfigSource) -> [ConfigError] {
        let single = (OutboundSettings.keys + OutboundSettings.quietKeys).map { key in
            (file: "outbound.\(key.name)", instead: "write \(key.name) in outbound.ini")
        }
        return (known + single).filter { source.stamp(of: $0.file) != nil }.map {
            ConfigError(file: $0.file, reason: "is not read; \($0.instead)")
        }
    }
}

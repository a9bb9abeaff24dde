// MetricsPage.swift — Prometheus text while it is written: families with their help, samples with escaped labels.

/// A page of metrics.
package struct MetricsPage: Sendable {
    /// What each metric says; names without an entry say only their name.
    private static let help: [String: String] = [
        "martlet_build_info": "The version that runs; always 1.",
        "martlet_start_time_seconds": "When the relay started, in seconds since 1970.",
        "martlet_queue_messages": "Parcels by state: a message for several next hops counts once for each.",
        "martlet_queue_bytes": "Bytes of queued messages, by the state of the parcel that is furthest.",
        "martlet_queue_oldest_age_seconds": "Age of the oldest queued message by state; 0 when there is none.",
        "martlet_queue_age_seconds": "Ages of the messages that are queued now, 0 without any.",
        "martlet_queue_messages_older": "Messages that are older than so many seconds.",
        "martlet_queue_route_parcels": "Parcels in the queue, by route.",
        "martlet_outbound_hosts_refusing_login": "Hosts of routes that refuse our login.",
        "martlet_tls_certificate_expiry_timestamp_seconds": "When the certificate ends; 0 without one.",
        "martlet_messages_rejected_total": "Messages, and recipients of clients that may not relay, that were refused.",
        "martlet_messages_accepted_total": "Messages that are ours: on disk and answered with success.",
        "martlet_recipients_total": "What became of recipients.",
        "martlet_outbound_disabled": "1 while delivery is switched off.",
        "martlet_outbound_connections": "Sessions to next hops now.",
        "martlet_spool_free_bytes": "Bytes that the file system of the queue has left.",
        "martlet_memory_for_mail_bytes": "Bytes of mail in memory.",
        "martlet_http_requests_total": "Requests to the API.",
        "martlet_http_request_seconds": "How long requests to the API took.",
        "martlet_http_connections": "Connections to the API now.",
        "martlet_auth_attempts_total": "Attempts of clients to authenticate.",
        "martlet_delivery_failures_total": "Recipients that failed, by reason; temporary ones count at each attempt.",
        "martlet_delivery_delay_seconds": "From acceptance to delivery.",
        "martlet_attempt_phase_seconds": "How long the steps of an attempt took.",
        "martlet_outbound_connections_total": "Sessions to next hops that were opened, or could not be.",
        "martlet_reports_undelivered_total": "Reports of ours that reached nobody.",
        "martlet_outbound_tls_total": "Sessions to next hops, by how they were protected.",
        "martlet_dns_lookups_total": "Questions to the resolver, by type and result.",
        "martlet_dns_lookup_seconds": "How long the resolver took.",
        "martlet_hook_seconds": "How long plugins took to answer.",
        "martlet_hook_failures_total": "Calls of plugins without a usable answer.",
        "martlet_spool_fsync_seconds": "How long the disk took to make a batch durable.",
        "martlet_database_commit_seconds": "How long the database took to commit a batch.",
        "martlet_spool_problems_total": "What is wrong with the spool, by kind; what was damaged lies under corrupt/.",
        "martlet_config_last_reload_success": "1 when the files on disk are the configuration in force.",
        "martlet_config_last_reload_success_timestamp_seconds": "When the files were last read without an error.",
        "martlet_inbound_tls_total": "TLS sessions of clients.",
        "martlet_inbound_tls_failures_total": "TLS handshakes of clients that came to nothing.",
        "martlet_outbound_sts_test_failures_total": "Sessions that an MTA-STS policy under test would have refused.",
        "process_resident_memory_bytes": "Resident memory size in bytes.",
        "process_open_fds": "Number of open file descriptors.",
        "process_cpu_seconds_total": "Total user and system CPU time spent in seconds.",
    ]

    package private(set) var bytes: [UInt8] = []
    private var families: Set<String> = []

    package init() { bytes.reserveCapacity(16 << 10) }

    /// Begins a family; every sample of it follows.
    package mutating func family(_ name: String, _ type: String) {
        guard families.insert(name).inserted else { return }
        // characters: the names are our own
        let help = Self.help[name] ?? name.split(separator: "_").dropFirst().joined(separator: " ") + "."
        bytes += Array("# HELP \(name) \(help)\n# TYPE \(name) \(type)\n".utf8)
    }

    /// Adds a sample.
    ///
    /// - Parameter labels: as ``labels(_:)`` makes them.
    package mutating func sample(_ name: String, _ labels: String, _ value: String) {
        bytes += Array((labels.isEmpty ? "\(name) \(value)\n" : "\(name){\(labels)} \(value)\n").utf8)
    }

    /// A family with one label.
    package mutating func family(_ name: String, _ type: String, by label: String, _ values: [(String, String)]) {
        family(name, type)
        for (value, sample) in values { self.sample(name, Self.labels([(label, value)]), sample) }
    }

    /// A family of a single sample.
    package mutating func single(_ name: String, _ type: String, _ value: String) {
        family(name, type)
        sample(name, "", value)
    }

    /// Labels in the order of their names, values escaped.
    package static func labels(_ labels: [(String, String)]) -> String {
        labels.sorted { $0.0 < $1.0 }.map { name, value in
            let escaped = value.map { character in
                switch character {
                case "\\": "\\\\"
                case "\"": "\\\""
                case "\n", "\r\n": "\\n"
                default: String(character)
                }
            }
            return "\(name)=\"\(escaped.joined())\""
        }.joined(separator: ",")
    }

    /// A number without a needless fraction.
    package static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)"
    }
}

// MetricsEndpoint.swift — `/metrics`: what swift-metrics counted, and the queue's own numbers, as Prometheus text.
//
// Scraping costs the same whatever the queue holds. Every series is there from the start, at zero.

import Config
import Files
import Glibc
import Mail
import Queue

/// The exposition.
enum MetricsEndpoint {
    static let type = "text/plain; version=0.0.4; charset=utf-8"

    /// `GET /metrics`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        var page = MetricsPage()
        relay(services, &page)
        queue(services.queue.statistics(), &page)
        page.single("martlet_event_streams", "gauge", "\(services.feed()?.count ?? 0)")
        page.single("martlet_live_streams", "gauge", "\(services.live.count)")
        services.metrics.write(to: &page)
        process(&page)
        return .bytes(page.bytes, type)
    }

    private static func relay(_ services: AdminServices, _ page: inout MetricsPage) {
        page.family("martlet_build_info", "gauge", by: "version", [(services.version, "1")])
        page.single(
            "martlet_start_time_seconds",
            "gauge",
            MetricsPage.number(Double(services.startedAt.milliseconds) / 1000)
        )
    }

    private static func queue(_ statistics: QueueStatistics, _ page: inout MetricsPage) {
        let counts = statistics.counts
        page.family(
            "martlet_queue_messages",
            "gauge",
            by: "state",
            [
                (QueuedState.waiting.name, "\(counts.waiting)"), (QueuedState.inProgress.name, "\(counts.inProgress)"),
                (QueuedState.tempFailed.name, "\(counts.tempFailed)"), (QueuedState.held.name, "\(counts.held)"),
                (QueuedState.dying.name, "\(counts.dying)"),
            ]
        )
        page.family(
            "martlet_queue_bytes",
            "gauge",
            by: "state",
            QueuedState.allCases.map { ($0.name, "\(statistics.bytesByState[$0] ?? 0)") }
        )
        page.family(
            "martlet_queue_oldest_age_seconds",
            "gauge",
            by: "state",
            QueuedState.allCases.map { ($0.name, "\(statistics.oldest[$0] ?? 0)") }
        )
        ages(statistics, &page)
        page.family(
            "martlet_queue_route_parcels",
            "gauge",
            by: "route",
            statistics.parcelsByRoute.sorted { $0.key < $1.key }.map { ($0.key, "\($0.value)") }
        )
        page.family("martlet_outbound_disabled", "gauge", by: "scope", [("all", statistics.isDisabled ? "1" : "0")])
        page.single("martlet_memory_for_mail_bytes", "gauge", "\(statistics.memoryForMail)")
        if let free = statistics.freeBytes { page.single("martlet_spool_free_bytes", "gauge", "\(free)") }
    }

    /// Gauges and no histogram: the numbers fall when mail leaves, which `rate()` would take for a restart.
    private static func ages(_ statistics: QueueStatistics, _ page: inout MetricsPage) {
        page.family(
            "martlet_queue_age_seconds",
            "gauge",
            by: "percent",
            [50, 90, 100].map { ("\($0)", "\(statistics.age(ofHundred: $0))") }
        )
        var left = statistics.ages.reduce(0, +)
        var older: [(String, String)] = [("0", "\(left)")]
        for (bound, count) in zip(QueueSurvey.ageBounds, statistics.ages) {
            left -= count
            older.append(("\(bound)", "\(left)"))
        }
        page.family("martlet_queue_messages_older", "gauge", by: "than_s", older)
    }

    private static func process(_ page: inout MetricsPage) {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        let seconds =
            Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
            + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
        page.single("process_cpu_seconds_total", "counter", MetricsPage.number(seconds))
        let disk = LinuxDisk()
        // The second word is the resident pages (proc(5)).
        if let words = try? disk.contents(of: "/proc/self/statm", limit: 256).split(octet: " "),
            words.count > 1, let pages = Int(String(decoding: words[1], as: UTF8.self))
        {
            page.single("process_resident_memory_bytes", "gauge", "\(pages * sysconf(Int32(_SC_PAGESIZE)))")
        }
        if let open = try? disk.list("/proc/self/fd") {
            page.single("process_open_fds", "gauge", "\(open.count)")
        }
    }
}

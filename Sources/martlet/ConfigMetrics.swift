// ConfigMetrics.swift — whether the configuration on disk is the one in force. Names are spelled here and nowhere else.

import Config
import Mail
import Metrics

/// Made at first use, when whoever collects is in place.
enum ConfigMetrics {
    private static let success = Meter(label: "martlet_config_last_reload_success")
    private static let time = Meter(label: "martlet_config_last_reload_success_timestamp_seconds")

    /// Made at first use as well: a series for each part of the configuration.
    private static let broken = ConfigPart.allCases.map { part in
        (part: part, meter: Meter(label: "martlet_config_broken", dimensions: [("file", part.file)]))
    }

    /// The files were read anew.
    static func show(_ health: ConfigHealth) {
        let isGood = health.broken.isEmpty
        success.set(isGood ? 1 : 0)
        if isGood { time.set(Timestamp.now().milliseconds / 1000) }
        for (part, meter) in broken { meter.set(health.broken.contains(part) ? 1 : 0) }
    }
}

// ConfigMetrics.swift — whether the configuration on disk is the one in force. Names are spelled here and nowhere else.

import Mail
import Metrics

/// Made at first use, when whoever collects is in place.
enum ConfigMetrics {
    private static let success = Meter(label: "martlet_config_last_reload_success")
    private static let time = Meter(label: "martlet_config_last_reload_success_timestamp_seconds")

    /// The files were read anew.
    static func count(isGood: Bool) {
        success.set(isGood ? 1 : 0)
        if isGood { time.set(Timestamp.now().milliseconds / 1000) }
    }
}

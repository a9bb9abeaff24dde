// MilterHealth.swift — what `/readyz` says of milters: which of them gives no verdict, and what that means for mail.

import Admin
import Filters

/// The milters among the checks.
enum MilterHealth {
    /// One check for each; mail is taken whatever they do, or a client hears why not.
    static func checks(_ filters: FilterChain?) -> [ReadinessCheck] {
        (filters?.health ?? []).map { health in
            let name = "milter_\(health.name)"
            if health.isLeftAlone {
                return ReadinessCheck(name, .degraded, "left alone for a while: \(health.trouble ?? "it failed")")
            }
            guard let trouble = health.trouble else {
                return ReadinessCheck(name, .good, "answers, or was not asked yet")
            }
            return ReadinessCheck(name, .degraded, "the last message got no verdict: \(trouble)")
        }
    }
}

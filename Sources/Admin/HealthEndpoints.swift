// HealthEndpoints.swift — `/livez`: the process answers; `/readyz`: mail is taken, with reasons when it is not.

import JSON

/// The probes; they leave no trace in the log.
enum HealthEndpoints {
    static func live(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        // Probes have a query now and then, against caches in between: no reason to kill a process.
        .json(["status": "alive"])
    }

    static func ready(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        let checks = services.checks()
        let isReady = !checks.contains { $0.state == .failed }
        let isDegraded = checks.contains { $0.state == .degraded }
        let list: [JSON] = checks.map { check in
            ["name": .string(check.name), "status": .string(check.state.rawValue), "detail": .string(check.detail)]
        }
        return .json(
            ["status": isReady ? isDegraded ? "degraded" : "ready" : "not_ready", "checks": .array(list)],
            status: isReady ? 200 : 503,
            headers: isReady ? [] : [HeaderField("Retry-After", "5")]
        )
    }
}

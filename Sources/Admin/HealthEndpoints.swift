// HealthEndpoints.swift — `/livez`: the process answers; `/readyz`: mail is taken, with reasons when it is not.

import JSON

/// The probes; they leave no trace in the log.
enum HealthEndpoints {
    static func live(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        return .json(["status": "alive"])
    }

    static func ready(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let checks = services.checks()
        let isReady = checks.allSatisfy { $0.isGood ?? true }
        let list: [JSON] = checks.map { check in
            let status: JSON =
                switch check.isGood {
                case true?: "ok"
                case false?: "failed"
                case nil: "info"
                }
            return ["name": .string(check.name), "status": status, "detail": .string(check.detail)]
        }
        return .json(
            ["status": isReady ? "ready" : "not_ready", "checks": .array(list)],
            status: isReady ? 200 : 503,
            headers: isReady ? [] : [HeaderField("Retry-After", "5")]
        )
    }
}

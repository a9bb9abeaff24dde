// ContractEndpoint.swift — `/openapi.yaml`: the contract of this API, as it stands at the top of the project.

import CContract

/// The contract.
enum ContractEndpoint {
    /// `GET /openapi.yaml`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        return .bytes(
            bytes,
            "application/yaml",
            headers: [HeaderField("ETag", tag), HeaderField("Cache-Control", "max-age=300")]
        )
    }

    /// `openapi.yaml`.
    static let bytes: [UInt8] = {
        var count = 0
        let first = martlet_contract(&count)
        return Array(UnsafeBufferPointer(start: first, count: count))
    }()

    private static let tag = EntityTags.of(bytes)
}

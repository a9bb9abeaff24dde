// ContractEndpoint.swift — `/openapi.yaml`: the contract of this API, as it stands at the top of the project.

/// The contract.
enum ContractEndpoint {
    /// `GET /openapi.yaml`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        return .bytes(
            PackageResources.openapi_yaml,
            "application/yaml",
            headers: [HeaderField("ETag", tag), HeaderField("Cache-Control", "max-age=300")]
        )
    }

    private static let tag = EntityTags.of(PackageResources.openapi_yaml)
}

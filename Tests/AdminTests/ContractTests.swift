// ContractTests.swift — `openapi.yaml` and the table of operations describe the same API.

import TestSupport
import Testing
import Yams

@testable import Admin

@Suite struct ContractTests {
    private static func contract() throws -> [String: Any] {
        let text = try TestFiles.text("\(TestFiles.root)/../openapi.yaml")
        return try #require(try Yams.load(yaml: text) as? [String: Any])
    }

    @Test func theContractNamesEveryOperationAndNoOther() throws {
        let paths = try #require(try Self.contract()["paths"] as? [String: [String: Any]])
        var described: Set<String> = []
        for (path, methods) in paths {
            for (method, operation) in methods {
                let id = (operation as? [String: Any])?["operationId"] as? String
                described.insert("\(method.uppercased()) \(path) \(id ?? "?")")
            }
        }
        let built = Set(Endpoints.all.map { "\($0.method.rawValue) \($0.path) \($0.operation)" })
        #expect(described.subtracting(built).sorted() == [])
        #expect(built.subtracting(described).sorted() == [])
        #expect(built.count == Endpoints.all.count)
    }

    @Test func publicOperationsAreSaidToBePublic() throws {
        let paths = try #require(try Self.contract()["paths"] as? [String: [String: Any]])
        for endpoint in Endpoints.all {
            let operation = paths[endpoint.path]?[endpoint.method.rawValue.lowercased()] as? [String: Any]
            #expect((operation?["security"] != nil) == (endpoint.scope == nil), "\(endpoint.operation)")
        }
    }

    @Test func theProgramServesThisContract() throws {
        let text = try TestFiles.text("\(TestFiles.root)/../openapi.yaml")
        #expect(
            ContractEndpoint.bytes.elementsEqual(text.utf8),
            "built with another openapi.yaml: touch Sources/CContract/shim.h"
        )
    }
}

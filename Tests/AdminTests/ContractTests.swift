// ContractTests.swift — `openapi.yaml` and the table of operations describe the same API.

import Config
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

    @Test func theContractKnowsEveryKeyOfDelivery() throws {
        let components = try #require(try Self.contract()["components"] as? [String: Any])
        let schemas = try #require(components["schemas"] as? [String: [String: Any]])
        func properties(_ name: String) throws -> Set<String> {
            Set(try #require(schemas[name]?["properties"] as? [String: Any]).keys)
        }
        let shown = OutboundSettings.keys.filter { $0.show != nil }.flatMap(OutboundEndpoints.names)
        #expect(try properties("Outbound") == Set(shown + ["disabled_origin"]))
        let taken = (OutboundSettings.keys + OutboundSettings.quietKeys).flatMap(OutboundEndpoints.spellings)
        #expect(try properties("OutboundChange") == Set(taken))
    }

    @Test func theProgramServesThisContract() throws {
        let text = try TestFiles.text("\(TestFiles.root)/../openapi.yaml")
        let isThis = ContractEndpoint.bytes.elementsEqual(text.utf8)
        #expect(isThis, "built with another: touch CContract/module.modulemap and Admin/ContractEndpoint.swift")
    }
}

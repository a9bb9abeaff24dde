// RelayPolicyTests.swift — who may relay, by table.

import Ingest
import Mail
import TestSupport
import Testing

struct RelayPolicyTests {
    @Test func followsTheTable() throws {
        let table = try TruthTable.load("relay_policy")
        #expect(table.rows.count >= 15)
        for row in table.rows {
            let client = IPAddress(try row.cell("client"))
            let networks = try row.cell("networks").split(separator: ",").filter { $0 != "-" }.map { text in
                try #require(IPNetwork(text), "\(row)")
            }
            let answer = RelayPolicy.mayRelay(client, networks: networks)
            #expect(answer == (try row.cell("answer") == "yes"), "\(row)")
        }
    }

    @Test func aCertificateIsAsGoodAsAnAddress() {
        let (known, other) = ([UInt8](repeating: 1, count: 32), [UInt8](repeating: 2, count: 32))
        #expect(RelayPolicy.mayRelay(nil, networks: [], certificate: known, certificates: [known]))
        #expect(!RelayPolicy.mayRelay(nil, networks: [], certificate: other, certificates: [known]))
        #expect(!RelayPolicy.mayRelay(nil, networks: [], certificate: nil, certificates: [known, []]))
        #expect(!RelayPolicy.mayRelay(nil, networks: [], certificate: known))
    }
}

// SecretBindingTests.swift — the truth table of "may this secret stay with the changed route".

import Mail
import TestSupport
import Testing

@testable import Config

@Suite struct SecretBindingTests {
    private static func mx(_ words: String) throws -> MX {
        let block = try #require(
            INIDocument(parsing: "[a.test]\nmx = \(words.split(octet: "|").joined(separator: " "))\n").blocks.first
        )
        return try RouteSection(block).host(at: 0)
    }

    @Test(arguments: try TruthTable.load("secret_binding").rows)
    func followsTheTable(row: TruthTable.Row) throws {
        let old = try Self.mx(try row.cell("given_for"))
        let new = try Self.mx(try row.cell("now"))
        let change = SecretBinding(old).change(to: new)?.rawValue ?? "stays"
        #expect(change == (try row.cell("change")))
    }
}

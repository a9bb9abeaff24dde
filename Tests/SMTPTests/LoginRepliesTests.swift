// LoginRepliesTests.swift — the table of Tests/Tables/login_replies.table.

import Mail
import SMTP
import TestSupport
import Testing

struct LoginRepliesTests {
    static let rows: [TruthTable.Row] = (try? TruthTable.load("login_replies").rows) ?? []

    @Test func findsTheTable() throws { #expect(try TruthTable.load("login_replies").rows.count > 20) }

    @Test(arguments: rows)
    func holds(_ row: TruthTable.Row) throws {
        let status = EnhancedStatus(leading: Substring(try row.cell("status")).utf8)
        let reply = Reply(try #require(UInt16(row.cell("code"))), status, "530 5.7.8 authentication required")
        #expect(reply.refusesLogin == (try row.cell("login") == "yes"))
        #expect(reply.wantsOtherMechanism == (try row.cell("mechanism") == "yes"))
    }
}

// ServerTests.swift — what goes to PostgreSQL octet by octet, and what its errors mean; a server is asked in the integration tests.

import Testing

@testable import Database

@Suite struct ServerTests {
    @Test func rowsForCopyAreAsTheFormatSays() {
        var rows = CopyRows()
        rows.row(5)
        rows.add(Int64(-2))
        rows.add(Int32(7))
        rows.add(Int16(1))
        rows.add(Array("ab".utf8))
        rows.addNull()
        rows.end()
        let head = Array("PGCOPY\n".utf8) + [0xFF, 0x0D, 0x0A, 0] + [UInt8](repeating: 0, count: 8)
        var body: [UInt8] = [0, 5, 0, 0, 0, 8, 255, 255, 255, 255, 255, 255, 255, 254]
        body += [0, 0, 0, 4, 0, 0, 0, 7, 0, 0, 0, 2, 0, 1]
        body += [0, 0, 0, 2, 97, 98, 255, 255, 255, 255, 255, 255]
        #expect(rows.take() == head + body)
        #expect(rows.bytes.isEmpty)
    }

    @Test func piecesMakeOneField() {
        var rows = CopyRows()
        _ = rows.take()
        [UInt8(1), 2].withUnsafeBytes { one in [UInt8(3)].withUnsafeBytes { other in rows.add(one, other) } }
        #expect(rows.take() == [0, 0, 0, 3, 1, 2, 3])
    }

    @Test func valuesAreInTheirBinaryForms() {
        #expect(ServerValue.number(258).encoded == [0, 0, 0, 0, 0, 0, 1, 2])
        #expect(ServerValue.text("ä").encoded == [0xC3, 0xA4])
        #expect(ServerValue.null.encoded == nil)
        let list = ServerValue.numbers([1, -1]).encoded ?? []
        #expect(list.prefix(20) == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 2, 0, 0, 0, 1])
        #expect(list.count == 20 + 2 * 12 && list.suffix(8) == [255, 255, 255, 255, 255, 255, 255, 255])
        #expect(ServerValue.numbers([]).encoded?.count == 20)
    }

    @Test(arguments: [
        ("08006", true), ("57P01", true), ("57P03", true), ("40001", true), ("25006", true), ("53300", true),
        ("55P03", true), ("57014", true), ("42501", false), ("23505", false), ("53100", false), ("", false),
    ])
    func tellsWhatPassesByItself(_ state: String, _ isPassing: Bool) {
        #expect(ServerError(state: state, text: "x").isPassing == isPassing)
    }

    @Test func anErrorIsOneLineAndKnowsAFullDisk() {
        #expect(ServerError(state: "53100", text: "a\nb\r\n").description == "a b (53100)")
        #expect(ServerError(state: "53100", text: "").isFull && !ServerError(state: "42501", text: "").isFull)
        #expect(ServerError(state: "", isLost: true, text: "").isPassing)
    }

    @Test func whoDoesNotListenIsALostConnection() {
        #expect {
            _ = try ServerConnection("postgresql://127.0.0.1:1/none?connect_timeout=2")
        } throws: { ($0 as? ServerError)?.isLost == true }
    }

    @Test func aConnectionStringIsLookedThrough() {
        #expect(ServerConnection.complaint(about: "postgresql://a@b/c?sslmode=verify-full") == nil)
        #expect(ServerConnection.complaint(about: "postgresql://a@b/c?no=such") != nil)
    }
}

// StreamShareTests.swift — what goes out in pieces counts against the one budget, and never waits for it.

import Config
import MessageFormat
import NIOCore
import Queue
import SMTP
import Storage
import Testing

@testable import Delivery

@Suite struct StreamShareTests {
    @Test func isGivenBackWhenNobodyHoldsIt() {
        let budget = MemoryBudget(limit: 1 << 20)
        var first: StreamShare? = StreamShare(of: budget, piece: 256 << 10, copies: 2)
        #expect(budget.used == 512 << 10 && first?.piece == 256 << 10)
        var second: StreamShare? = StreamShare(of: budget, piece: 64 << 10, copies: 5)
        #expect(budget.used == 832 << 10 && second?.piece == 64 << 10)
        // A third has no room for its pieces, and goes on all the same.
        let third = StreamShare(of: budget, piece: 64 << 10, copies: 5)
        #expect(third.piece == 8 << 10 && budget.used == 872 << 10)
        first = nil
        second = nil
        #expect(budget.used == 40 << 10)
        withExtendedLifetime(third) {}
    }

    /// A hundred sessions where nothing is left: little each.
    @Test func manyNeedLittleWhereNothingIsLeft() {
        let budget = MemoryBudget(limit: 0)
        let all = (0..<100).map { _ in StreamShare(of: budget, piece: 64 << 10, copies: 5) }
        #expect(budget.used == 100 * 40 << 10 && all.allSatisfy { $0.piece == 8 << 10 })
        #expect(StreamShare(of: nil, piece: 64 << 10, copies: 5).piece == 64 << 10)
    }

    /// The same octets come out, however large the pieces are.
    @Test(arguments: [100, 8 << 10, 64 << 10])
    func piecesMakeNoDifference(_ piece: Int) throws {
        let header = "From: a@x.test\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        let body = ByteBuffer(string: header + String(repeating: "gr\u{FC}n = 1.\r\n.\r\n", count: 9000))
        let content = Content(prologue: ByteBuffer(), body: .memory(body), hasLeadingDots: true, isEightBit: true)
        let verdict = try Conversion.prepare(content, SevenBitPlan.Wish(breaksLines: false), DKIMSettings())
        guard case .possible(let conversion) = verdict else {
            Issue.record("\(verdict)")
            return
        }
        var writer: SevenBitWriter? = conversion.makeWriter()
        var sent = ByteBuffer()
        var offset = 0
        while offset < content.size {
            let read = try BodyStream.read(content, at: offset, atMost: piece, writer)
            #expect(read.count <= piece)
            sent.writeImmutableBuffer(read.bytes)
            (offset, writer) = (offset + read.count, read.writer)
        }
        #expect(sent.readableBytes == conversion.size)
        #expect(sent.readableBytesView.allSatisfy { $0 < 0x80 })
    }
}

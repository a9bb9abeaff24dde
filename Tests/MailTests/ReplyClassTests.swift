// ReplyClassTests.swift — our table of classes against real replies: `Tests/Tables/replies.table`.
//
// A fifth of the replies, chosen by a hash of their text, is held out: rules are written from the other four fifths, so its score
// says what they are worth for replies that nobody looked at.

import Mail
import TestSupport
import Testing

/// A reply that somebody got, and what it means.
private struct Known {
    let replyClass: ReplyClass
    let text: String

    /// FNV-1a of the text, one in five.
    var isHeldOut: Bool {
        text.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 } % 5 == 0
    }

    static func load() throws -> [Known] {
        try TestFiles.text("\(TestFiles.root)/Tables/replies.table").split(separator: "\n").compactMap { line in
            if line.hasPrefix("#") { return nil }
            let cells = line.split(separator: "|", maxSplits: 4).map { $0.trimmed }
            let found = try #require(ReplyClass(name: cells[3]), "\(line)")
            return Known(replyClass: found, text: String(cells[4]))
        }
    }
}

@Suite struct ReplyClassTests {
    @Test func tellsRealReplies() throws {
        let known = try Known.load()
        #expect(known.count >= 600)
        for isHeldOut in [false, true] {
            var confusion: [ReplyClass: [ReplyClass: Int]] = [:]
            var (right, all) = (0, 0)
            for reply in known where reply.isHeldOut == isHeldOut {
                let finding = ReplyClassifier.shipped.classify(try #require(Reply(line: reply.text)))
                confusion[reply.replyClass, default: [:]][finding.replyClass, default: 0] += 1
                all += 1
                right += finding.replyClass == reply.replyClass ? 1 : 0
                if !isHeldOut, finding.replyClass != reply.replyClass {
                    print(
                        "\(reply.replyClass.name) taken for \(finding.replyClass.name) [\(finding.rule)]: \(reply.text)"
                    )
                }
            }
            print(isHeldOut ? "held out:" : "seen:", "\(right) of \(all) right")
            for (wanted, found) in confusion.sorted(by: { $0.key.name < $1.key.name }) {
                let cells = found.sorted { $0.key.name < $1.key.name }.map { "\($0.key.name) \($0.value)" }
                print("  \(wanted.name): \(cells.joined(separator: ", "))")
            }
            #expect(all >= 100)
            #expect(Double(right) >= 0.97 * Double(all), "\(right) of \(all)")
        }
    }
}

// SuppressionTests.swift — the list of those that get nothing: what bounces teach it, what it keeps, what it says.

import Files
import Glibc
import History
import Mail
import Synchronization
import TestSupport
import Testing

@testable import Suppression

@Suite struct SuppressionTests {
    private static let hour: Int64 = 3_600_000
    private static let now = Timestamp(milliseconds: 1_800_000_000_000)

    private static func address(_ text: String) throws -> EmailAddress { try #require(EmailAddress(text)) }

    private static func directory() throws -> String {
        var template = Array("/tmp/suppressions-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) }
        }
        return try #require(made)
    }

    private static func list() throws -> SuppressionList { try SuppressionList(path: ":memory:") }

    @Test(arguments: try TruthTable.load("suppression").rows)
    func decides(_ row: TruthTable.Row) throws {
        let replyClass = try #require(ReplyClass(name: row.cell("class")))
        let parts = try row.cell("first").split(separator: "/").map(String.init)
        var first: SuppressionEvidence?
        if parts.count == 2 {
            let age = try #require(Int64(parts[1])) * Self.hour
            first = SuppressionEvidence(host: parts[0], time: Self.now.adding(milliseconds: -age))
        }
        let days = try #require(Int(try row.cell("days")))
        let step = SuppressionStep(
            replyClass,
            code: try #require(UInt16(try row.cell("code"))),
            by: SuppressionEvidence(host: try row.cell("host"), time: Self.now),
            after: first,
            days: days
        )
        let expected: SuppressionStep =
            switch try row.cell("step") {
            case "ever": .forEver
            case "days": .until(Self.now.adding(milliseconds: Int64(days) * 24 * Self.hour))
            default: .none
            }
        #expect(step == expected)
    }

    /// Which line holds mail back, and which says why.
    @Test(arguments: try TruthTable.load("suppression_scope").rows)
    func holdsBack(_ row: TruthTable.Row) throws {
        let list = try Self.list()
        for text in try row.cell("lines").split(separator: ",") {
            let halves = text.split(separator: "=").map(String.init)
            let parts = halves[0].replacing("@@", with: " ").split(separator: " ").map(String.init)
            var scope = Suppression.Scope.everybody
            if parts.count == 2 {
                let tag = parts[1].hasPrefix("tag:") ? String(parts[1].dropFirst(4)) : nil
                scope = try #require(
                    tag.flatMap { Suppression.Scope(tag: $0) } ?? Domain(parts[1]).map { .sender($0) }
                )
            }
            let reason = try #require(Suppression.Reason(rawValue: halves[1]))
            try list.put([Suppression(parts[0], scope, reason: reason, created: Self.now)])
        }
        let from = try row.cell("from")
        let sender = try from == "<>" ? ReversePath.null : .address(Self.address(from))
        let tag = try row.cell("tag")
        let found = list.reason(
            for: try Self.address(row.cell("to")),
            from: sender,
            tag: tag == "-" ? nil : tag,
            at: Self.now
        )
        #expect(try (found?.rawValue ?? "-") == row.cell("reason"))
    }

    /// A line for a tag is one of its own, over a start too.
    @Test func linesOfATagAreKeptApart() throws {
        let path = "\(try Self.directory())/suppressions.db"
        let spring = try #require(Suppression.Scope(tag: "spring sale"))
        #expect(Suppression.Scope(tag: "") == nil && Suppression.Scope(tag: "a\nb") == nil)
        #expect(Suppression.Scope(tag: String(repeating: "a", count: 201)) == nil)
        do {
            let list = try SuppressionList(path: path)
            #expect(!list.asksTag)
            let line = Suppression("ann@c.test", spring, reason: .unsubscribe, created: Self.now)
            #expect(try list.put([line, Suppression("ann@c.test", created: Self.now)]) == 2)
            #expect(list.asksTag)
            let table = try #require(try CSV.records(in: SuppressionTable.header + line.csv, atMost: 2).last)
            let fields = try #require(SuppressionTable.fields(table.cells, columns: SuppressionTable.columns))
            #expect(fields.last?.name == "tag" && fields.last?.text == "spring sale")
        }
        let list = try SuppressionList(path: path)
        #expect(list.asksTag && list.total == 2)
        #expect(try list.line("ann@c.test", spring)?.scope == spring)
        #expect(try list.remove("ann@c.test", .everybody))
        let ann = try Self.address("ann@c.test")
        #expect(list.reason(for: ann, from: .null, tag: "spring sale", at: Self.now) == .unsubscribe)
        #expect(list.reason(for: ann, from: .null, at: Self.now) == nil)
        #expect(try list.remove("ann@c.test", spring))
        #expect(list.isEmpty && !list.asksTag)
    }

    @Test func saysWhatALineWouldReplace() throws {
        let list = try Self.list()
        let ann = Suppression("ann@example.com", note: "ticket 9", created: Self.now)
        try list.put([ann])
        var other = ann
        other.note = "ticket 10"
        let shop = Suppression("ann@example.com", .sender(Domain(unchecked: "shop.example")), created: Self.now)
        #expect(try list.standing(inPlaceOf: [shop, other, ann, shop]) == [nil, ann, other, shop])
        #expect(list.total == 1)
        #expect(try list.line("ann@example.com", .everybody) == ann)
    }

    @Test func takesAwayOnlyWhatWasSeen() throws {
        let list = try Self.list()
        let seen = Suppression("ann@example.com", note: "ticket 9", created: Self.now)
        var changed = seen
        changed.note = "ticket 10"
        try list.put([changed])
        #expect(try !list.remove("ann@example.com", .everybody, expecting: seen))
        #expect(list.total == 1)
        #expect(try list.remove("ann@example.com", .everybody, expecting: changed))
        #expect(list.isEmpty)
    }

    @Test func readsTablesOfItsOwnAndOfOthers() throws {
        #expect(SuppressionTable.columns(named: ["target", "note"]) == ["target", "note"])
        #expect(SuppressionTable.columns(named: ["Email", "Reason"]) == ["target", "reason"])
        #expect(SuppressionTable.columns(named: ["ann@example.com", "note"]) == nil)
        let line = Suppression("ann@example.com", note: "asked, by phone", created: Self.now)
        let record = try #require(try CSV.records(in: line.csv, atMost: 1).first)
        let fields = try #require(SuppressionTable.fields(record.cells, columns: SuppressionTable.columns))
        #expect(fields.map(\.name) == ["target", "reason", "note"])
        #expect(fields.map(\.text) == ["ann@example.com", "manual", "asked, by phone"])
        #expect(
            SuppressionTable.fields(
                ["a@b.example", "", "", "", "", "asked", " by phone"],
                columns: SuppressionTable.unnamed
            ) == nil
        )
    }

    @Test func holdsForAddressDomainAndSender() throws {
        let list = try Self.list()
        #expect(list.isEmpty)
        let shop = try #require(Domain("shop.example"))
        try list.put([
            Suppression("ann@example.com", created: Self.now),
            Suppression("gone.example", reason: .complaint, created: Self.now),
            Suppression("bob@example.com", .sender(shop), reason: .unsubscribe, created: Self.now),
            Suppression("late@example.com", created: Self.now, expires: Self.now.adding(milliseconds: 1000)),
        ])
        func reason(
            _ recipient: String,
            _ sender: String = "a@other.example",
            _ later: Int64 = 0
        ) throws
            -> Suppression.Reason?
        {
            list.reason(
                for: try Self.address(recipient),
                from: .address(try Self.address(sender)),
                at: Self.now.adding(milliseconds: later)
            )
        }
        #expect(try reason("Ann@Example.com") == .manual)
        #expect(try reason("anne@example.com") == nil)
        #expect(try reason("any@gone.example") == .complaint)
        #expect(try reason("any@sub.gone.example") == nil)
        #expect(try reason("bob@example.com") == nil)
        #expect(try reason("bob@example.com", "x@shop.example") == .unsubscribe)
        #expect(try reason("late@example.com", "a@other.example", 999) == .manual)
        #expect(try reason("late@example.com", "a@other.example", 1000) == nil)
        #expect(try list.remove("bob@example.com", .everybody) == false)
        #expect(try list.remove("bob@example.com", .sender(shop)))
        #expect(try reason("bob@example.com", "x@shop.example") == nil)
        #expect(list.total == 3)
    }

    @Test func isThereAfterAStart() throws {
        do {
            let path = "\(try Self.directory())/suppressions.db"
            for number in 0..<3 {
                let list = try SuppressionList(path: path)
                #expect(list.total == number)
                #expect(try list.put([Suppression("u\(number)@example.com", created: Self.now)]) == 1)
                let first = list.reason(for: try Self.address("u0@example.com"), from: .null, at: Self.now)
                #expect(first == .manual)
            }
            let list = try SuppressionList(path: path)
            var (place, found): ([UInt8]?, [String]) = ([], [])
            while let behind = place {
                let page = try list.lines(behind: behind, atMost: 2)
                found += page.lines.map(\.target)
                place = page.next
            }
            #expect(found.sorted() == ["u0@example.com", "u1@example.com", "u2@example.com"])
        }
    }

    @Test func keepsNoAddressWhereOnlyHashesAreWanted() throws {
        let path = "\(try Self.directory())/suppressions.db"
        let shop = Suppression.Scope.sender(Domain(unchecked: "shop.example"))
        let isOn = Atomic<Bool>(false)
        func target(_ list: SuppressionList, _ text: String, _ scope: Suppression.Scope = .everybody) throws -> String?
        {
            try list.line(text, scope)?.target
        }
        do {
            let list = try SuppressionList(path: path) { isOn.load(ordering: .relaxed) }
            try list.put([Suppression("ann@example.com", created: Self.now)])
            #expect(try target(list, "ann@example.com") == "ann@example.com")
            isOn.store(true, ordering: .relaxed)
            try list.put([Suppression("bob@example.com", shop, created: Self.now)])
            // The new one, and the one that was there.
            let hash = try #require(try target(list, "bob@example.com", shop))
            #expect(hash.hasPrefix("hash:") && hash.utf8.count == 37 && Suppression.target(hash.uppercased()) == hash)
            #expect(try target(list, "ann@example.com")?.hasPrefix("hash:") == true)
            #expect(try list.reason(for: Self.address("Ann@example.com"), from: .null, at: Self.now) == .manual)
            #expect(
                try list.put([Suppression(hash, shop, created: Self.now)]) == 0,
                "by its hash it is the same"
            )
        }
        let file = try LinuxDisk().contents(of: path, limit: 1 << 20)
        #expect(!String(decoding: file, as: UTF8.self).contains("bob@example.com"))
        let list = try SuppressionList(path: path) { true }
        #expect(list.total == 2)
        #expect(try list.reason(for: Self.address("ann@example.com"), from: .null, at: Self.now) == .manual)
        let hash = try #require(try target(list, "ann@example.com"))
        #expect(try list.remove(hash, .everybody))
        #expect(try list.reason(for: Self.address("ann@example.com"), from: .null, at: Self.now) == nil)
    }

    @Test func learnsOnceFromEachBounceAndNeverFromABlock() throws {
        let list = try Self.list()
        let reader = Events()
        func bounce(_ recipient: String, _ reason: FailureReason, _ host: String, hours: Int64) throws {
            var data = EventData()
            (data.recipient, data.reason) = (recipient, reason)
            data.smtp = EventData.Words(code: 550, text: "no")
            data.mx = EventData.Host(host: host)
            try reader.add(.bounced, data, at: Self.now.adding(milliseconds: hours * Self.hour))
        }
        // A whole list that is blocked: nobody on it is to blame.
        for number in 0..<50 {
            try bounce("blocked\(number)@example.com", .reputation, "mx\(number % 2)", hours: Int64(number))
        }
        try bounce("gone@example.com", .mailboxUnknown, "mx1", hours: 0)
        try bounce("twice@example.com", .mailboxInactive, "mx1", hours: 0)
        try bounce("twice@example.com", .mailboxInactive, "mx1", hours: 25)
        while try list.learn(from: reader, epoch: "a", days: 7) > 0 {}
        #expect(list.total == 2)
        let gone = try #require(try list.line("gone@example.com", .everybody))
        #expect(gone.expires == Self.now.adding(milliseconds: 7 * 24 * Self.hour) && gone.reason == .hardBounce)
        #expect(try list.line("twice@example.com", .everybody)?.expires == nil)
        // The same events again are not a second proof.
        #expect(try list.learn(from: reader, epoch: "a", days: 7) == 0)
        // What somebody took away stays away.
        _ = try list.remove("gone@example.com", .everybody)
        #expect(try list.learn(from: reader, epoch: "a", days: 7) == 0 && list.total == 1)
        // What somebody decided is not changed by a bounce.
        try list.put([Suppression("gone@example.com", reason: .complaint, created: Self.now)])
        try bounce("gone@example.com", .mailboxUnknown, "mx1", hours: 30)
        while try list.learn(from: reader, epoch: "a", days: 7) > 0 {}
        #expect(try list.line("gone@example.com", .everybody)?.reason == .complaint)
    }
}

extension SuppressionTests {
    /// Others' reports count as their bounces do; a complaint is about one sender's mail.
    @Test func learnsFromReportsThatComeLater() throws {
        let list = try SuppressionList(path: ":memory:")
        let reader = Events()
        let now = Timestamp(milliseconds: 1_800_000_000_000)
        func report(_ type: EventType, _ recipient: String, _ reason: FailureReason?, _ sender: String? = nil) throws {
            var data = EventData()
            (data.recipient, data.reason, data.sender) = (recipient, reason, sender)
            data.smtp = reason.map { _ in EventData.Words(code: 550, text: "no") }
            data.mx = EventData.Host(host: "mx")
            try reader.add(type, data, at: now)
        }
        try report(.bouncedLate, "gone@example.com", .mailboxUnknown)
        try report(.bouncedLate, "blocked@example.com", .reputation)
        try report(.complained, "ann@example.com", nil, "news@shop.example")
        try report(.complained, "bob@example.com", nil)
        try list.put([Suppression("carl@example.com", reason: .unsubscribe, created: now)])
        try report(.complained, "carl@example.com", nil)
        while try list.learn(from: reader, epoch: "a", days: 7) > 0 {}
        func reason(_ recipient: String, _ sender: String) throws -> Suppression.Reason? {
            let (to, from) = (try #require(EmailAddress(recipient)), try #require(EmailAddress(sender)))
            return list.reason(for: to, from: .address(from), at: now)
        }
        #expect(try reason("gone@example.com", "a@b.example") == .hardBounce)
        #expect(try reason("blocked@example.com", "a@b.example") == nil)
        #expect(try reason("ann@example.com", "other@shop.example") == .complaint)
        #expect(try reason("ann@example.com", "a@b.example") == nil, "others' mail is not concerned")
        #expect(try reason("bob@example.com", "a@b.example") == .complaint, "whose mail it was is not known")
        #expect(try reason("carl@example.com", "a@b.example") == .unsubscribe)
    }
}

/// A history in memory.
private final class Events: EventReader {
    private let events = Mutex<[Event]>([])

    var span: EventSpan { EventSpan(oldest: 1, newest: UInt64(events.withLock { $0.count })) }

    func events(after seq: UInt64, matching filter: EventFilter, atMost limit: Int) throws(HistoryError) -> EventPage {
        let found = events.withLock { $0 }.filter { $0.seq > seq && filter.fits($0) }.prefix(min(limit, 20))
        let newest = UInt64(events.withLock { $0.count })
        let isAtEnd = (found.last?.seq ?? newest) >= newest
        return EventPage(events: Array(found), last: isAtEnd ? newest : found.last?.seq ?? newest, isAtEnd: isAtEnd)
    }

    func wait(behind seq: UInt64, atMost milliseconds: Int) -> Bool { span.newest > seq }
    func onNews(_ body: @escaping @Sendable () -> Void) -> NewsToken { NewsToken {} }
    func cursor(_ name: String) throws(HistoryError) -> EventCursor? { nil }
    func cursors(named prefix: String) throws(HistoryError) -> [EventCursor] { [] }
    func keep(_ cursor: EventCursor) throws(HistoryError) {}
    func forgetCursor(_ name: String) throws(HistoryError) {}

    func add(_ type: EventType, _ data: EventData, at time: Timestamp) throws(HistoryError) {
        let seq = UInt64(events.withLock { $0.count } + 1)
        events.withLock { $0.append(Event(seq: seq, epoch: "a", type: type, time: time, node: "x", data: data)) }
    }
}

// HistoryBookTests.swift — what is committed is read back: in order, by number, by message, after a new start.

import Database
import Glibc
import Mail
import Testing

@testable import History

/// A directory that is removed at the end.
private final class Place {
    let path: String

    init() {
        var template = Array("/tmp/history-XXXXXX".utf8CString)
        path = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) } ?? "/tmp"
        }
    }

    var file: String { "\(path)/history.db" }

    deinit {
        for suffix in ["", "-wal", "-shm"] { unlink(file + suffix) }
        rmdir(path)
    }
}

private func context(_ number: UInt64, to recipients: [String] = ["b@to.example"]) -> MessageContext {
    MessageContext(
        id: QueueID(rawValue: number),
        acceptedAt: Timestamp(milliseconds: 1_700_000_000_000 + Int64(number)),
        size: 500,
        sender: "a@from.example",
        recipients: recipients.enumerated().map { MessageContext.Recipient(UInt32($0.offset), $0.element) },
        headerMessageID: "<\(number)@from.example>",
        tag: "tag\(number % 7)"
    )
}

private func delivered(_ recipients: [UInt32] = [0], at time: Int64 = 1_700_000_000_500) -> Facts {
    var part = AttemptFact.Part(.delivered, recipients, EventData.Words(code: 250, text: "Ok"))
    part.host = EventData.Host(host: "mx.example", ip: IPAddress("192.0.2.1"), port: 25)
    let lane = LaneName(.domain(Domain(unchecked: "to.example")))
    return Facts(.attempt(AttemptFact(at: Timestamp(milliseconds: time), attempt: 1, lane: lane, parts: [part])))
}

private func story(_ numbers: ClosedRange<UInt64>) -> [HistoryItem] {
    numbers.flatMap { number -> [HistoryItem] in
        [
            .accepted(context(number, to: ["user\(number)@to\(number % 10).example"])),
            .note(QueueID(rawValue: number), delivered(), isEnd: true, context: context(number)),
        ]
    }
}

private let now = Timestamp(milliseconds: 1_700_000_000_000)

@Suite struct HistoryBookTests {
    private func book(_ place: Place, _ options: HistoryOptions = HistoryOptions()) throws -> HistoryBook {
        try HistoryBook(path: place.file, options: options) { "e1" }
    }

    @Test func eventsComeInOrderWithoutGaps() throws {
        let place = Place()
        let book = try book(place)
        for first in stride(from: 1 as UInt64, through: 4_000, by: 500) {
            try book.commit(story(first...first + 499), at: [1], durably: false, now: now)
        }
        #expect(book.span == EventSpan(oldest: 1, newest: 12_000))
        var seen: [Event] = []
        while true {
            let page = try book.events(after: seen.last?.seq ?? 0, matching: EventFilter(), atMost: 777)
            seen += page.events
            if page.isAtEnd { break }
        }
        #expect(seen.map(\.seq) == Array(1...12_000))
        #expect(seen.prefix(3).map(\.type) == [.accepted, .delivered, .finished])
        #expect(seen[1].data.recipient == "user1@to1.example")
        #expect(seen[1].data.headerMessageID == "<1@from.example>")
        #expect(seen[1].data.age == 499)
        #expect(seen[1].id == "evt_e1_2")
    }

    /// Very much that does not fit, more than is read in one go: what fits behind it is found all the same.
    @Test func nothingIsPassedOverBehindALotThatDoesNotFit() throws {
        let place = Place()
        let book = try book(place)
        let count: UInt64 = 20_000
        try book.commit(story(1...count), at: [1], durably: false, now: now)
        try book.add(.outboundDisabled, EventData(), at: now)
        var filter = EventFilter()
        filter.types = [.outboundDisabled]
        var (seq, seen): (UInt64, [UInt64]) = (0, [])
        for _ in 0..<1000 {
            let page = try book.events(after: seq, matching: filter, atMost: 10)
            seen += page.events.map(\.seq)
            seq = page.last
            if page.isAtEnd { break }
        }
        #expect(seen == [3 * count + 1])
    }

    @Test func filtersGoOnBehindWhatDoesNotFit() throws {
        let place = Place()
        let book = try book(place)
        try book.commit(story(1...2_000), at: [1], durably: false, now: now)
        var filter = EventFilter()
        filter.types = [.delivered]
        filter.recipient = .domain(Domain(unchecked: "TO3.example"))
        var found: [Event] = []
        var after: UInt64 = 0
        while true {
            let page = try book.events(after: after, matching: filter, atMost: 30)
            found += page.events
            after = page.last
            if page.isAtEnd { break }
        }
        #expect(found.count == 200)
        #expect(found.allSatisfy { $0.type == .delivered && ($0.data.recipient ?? "").utf8.count > 10 })
        filter = EventFilter()
        filter.message = QueueID(rawValue: 1_500)
        var events: [Event] = []
        after = 0
        repeat {
            let page = try book.events(after: after, matching: filter, atMost: 10)
            events += page.events
            after = page.last
            if page.isAtEnd { break }
        } while true
        #expect(events.map(\.seq) == [4_498, 4_499, 4_500])
    }

    @Test func aNewStartGoesOnWhereTheOldOneStopped() throws {
        let place = Place()
        do {
            let book = try book(place)
            try book.commit(story(1...10), at: [7, 7], durably: true, now: now)
            try book.keep(EventCursor(name: "webhook/a", seq: 9, note: [1, 2]))
            try book.keep(EventCursor(name: "webhook/b", seq: 3))
        }
        let book = try HistoryBook(path: place.file, options: HistoryOptions()) { "other" }
        #expect(book.epoch == "e1")
        #expect(book.position == [7, 7])
        #expect(book.span == EventSpan(oldest: 1, newest: 30))
        #expect(try book.cursor("webhook/a") == EventCursor(name: "webhook/a", seq: 9, note: [1, 2]))
        #expect(try book.cursors(named: "webhook/").map(\.name) == ["webhook/a", "webhook/b"])
        try book.forgetCursor("webhook/a")
        #expect(try book.cursor("webhook/a") == nil)
        try book.add(.webhookDisabled, EventData(), at: now)
        #expect(book.position == [7, 7])
        #expect(try book.events(after: 30, matching: EventFilter(), atMost: 5).events.map(\.type) == [.webhookDisabled])
    }

    /// Whatever was put together on the way and after a new start: each delivery counts once.
    @Test func hoursAreSummedUp() throws {
        let place = Place()
        do {
            let book = try book(place)
            for first in stride(from: 1 as UInt64, through: 500, by: 5) {
                try book.commit(story(first...first + 4), at: [1], durably: false, now: now)
            }
        }
        let book = try book(place)
        let sheet = try book.tallies(from: now, to: now.adding(milliseconds: 1))
        let tags = sheet.list(.tag)
        #expect(tags.named.count == 7)
        #expect(tags.named.reduce(0) { $0 + $1.tally.accepted } == 500)
        let routes = sheet.list(.route)
        #expect(routes.named.map(\.name) == ["to.example"])
        #expect(routes.named.first?.tally.delivered == 500)
        #expect(sheet.list(.provider).named.map(\.name) == ["mx.example"])
        #expect((200...499).contains(routes.named.first?.tally.delay(percent: 50) ?? 0))
        #expect(
            try book.tallies(from: now.adding(milliseconds: 3_600_000), to: now.adding(milliseconds: 7_200_000)).isEmpty
        )
        // Days that are gone take their numbers along.
        try book.commit([], at: [2], durably: false, now: now)
        try book.expire(now: now.adding(milliseconds: 40 * 86_400_000))
        #expect(try book.tallies(from: now, to: now.adding(milliseconds: 1)).isEmpty)
    }

    /// A database of the first version has no numbers, and gets room for them.
    @Test func anOlderHistoryIsTakenOver() throws {
        let place = Place()
        do {
            let book = try book(place)
            try book.commit(story(1...3), at: [1], durably: true, now: now)
        }
        do {
            let database = try Database(place.file)
            try database.run("DROP TABLE tally; PRAGMA user_version = 1")
        }
        let book = try book(place)
        #expect(book.span.newest == 9)
        try book.commit(story(4...5), at: [2], durably: false, now: now)
        #expect(try book.tallies(from: now, to: now).list(.route).named.first?.tally.delivered == 2)
    }

    @Test func aMessageIsFoundWhereverItsEventsStand() throws {
        let place = Place()
        let book = try book(place)
        try book.commit([.accepted(context(5, to: ["x@a", "y@b", "z@c"]))], at: [1], durably: false, now: now)
        for number in 0..<40 as Range<UInt64> {
            try book.commit(story(1_000 + number * 10...1_009 + number * 10), at: [1], durably: false, now: now)
        }
        let known = try #require(book.contexts(near: QueueID(rawValue: 5)).first)
        #expect(known == context(5, to: ["x@a", "y@b", "z@c"]))
        let note = HistoryItem.note(QueueID(rawValue: 5), delivered([2]), isEnd: false, context: known)
        try book.commit([note], at: [1], durably: false, now: now)
        let timeline = try book.timeline(of: QueueID(rawValue: 5))
        #expect(timeline.map(\.type) == [.accepted, .delivered])
        #expect(timeline.last?.data.recipient == "z@c")
        #expect(try book.facts(of: QueueID(rawValue: 5)) == [delivered([2])])
        #expect(try book.timeline(of: QueueID(rawValue: 6)).isEmpty)
    }

    @Test func oldDaysAndTooMuchAreDropped() throws {
        let place = Place()
        var options = HistoryOptions()
        options.days = 2
        let book = try book(place, options)
        let day: Int64 = 86_400_000
        for number in 0..<6 as Range<Int64> {
            let first = UInt64(number) * 100 + 1
            try book.commit(
                story(first...first + 99),
                at: [1],
                durably: false,
                now: now.adding(milliseconds: number * day)
            )
        }
        #expect(try book.expire(now: now.adding(milliseconds: 5 * day)) == 3)
        #expect(book.span == EventSpan(oldest: 901, newest: 1_800))
        #expect(throws: HistoryError.tooOld(oldest: 901)) {
            try book.events(after: 5, matching: EventFilter(), atMost: 1)
        }
        #expect(try book.events(after: 0, matching: EventFilter(), atMost: 1).events.first?.seq == 901)
        #expect(try book.events(after: 900, matching: EventFilter(), atMost: 1).events.first?.seq == 901)
        #expect(try book.timeline(of: QueueID(rawValue: 1)).isEmpty)
    }

    @Test func memoryOfBytesIsBounded() throws {
        let place = Place()
        var options = HistoryOptions()
        options.bytes = 2 << 20
        let book = try book(place, options)
        for number in 0..<40 as Range<UInt64> {
            try book.commit(story(number * 500 + 1...number * 500 + 500), at: [1], durably: false, now: now)
            try book.expire(now: now)
        }
        let used = try book.usedBytes()
        #expect(used <= options.bytes + options.bytes / 8)
        #expect(book.span.oldest > 1)
        #expect(try book.timeline(of: QueueID(rawValue: 20_000)).count == 3)
    }

    @Test func aPersonIsForgottenAndNumbersStay() throws {
        let place = Place()
        let book = try book(place)
        try book.commit(
            [.accepted(context(5, to: ["Mallory@a.example", "y@b.example"]))],
            at: [1],
            durably: false,
            now: now
        )
        try book.commit(story(100...900), at: [1], durably: false, now: now)
        let known = try #require(book.contexts(near: QueueID(rawValue: 5)).first)
        let facts = delivered([0])
        let note = HistoryItem.note(QueueID(rawValue: 5), facts, isEnd: false, context: known)
        try book.commit([note], at: [1], durably: false, now: now)
        let before = try book.timeline(of: QueueID(rawValue: 5))
        #expect(try book.erase(recipient: "mallory@A.example", actor: "boss", now: now) == 1)
        let after = try book.timeline(of: QueueID(rawValue: 5))
        #expect(after.map(\.seq) == before.map(\.seq) && after.map(\.type) == before.map(\.type))
        #expect(after.last?.data.recipient == HistoryBook.erased)
        #expect(after.last?.data.smtp?.text == HistoryBook.erased)
        var query = HistoryQuery()
        query.filter.recipient = EmailAddress("mallory@a.example").map { .address($0) }
        #expect(try book.search(query, atMost: 5).stories.isEmpty)
        query.filter.recipient = EmailAddress("y@b.example").map { .address($0) }
        #expect(try book.search(query, atMost: 5).stories.count == 1)
        let last = try #require(
            book.events(after: book.span.newest - 1, matching: EventFilter(), atMost: 1).events.first
        )
        #expect(last.type == .historyErased && last.data.count == 1 && last.data.recipient == nil)
    }

    @Test func aMessageThatWasAcceptedElsewhereIsFoundAndForgotten() throws {
        let place = Place()
        let book = try book(place)
        let taken = context(7, to: ["x@a.example", "y@b.example"])
        // Without a note it is nothing that happened, and takes no number.
        try book.commit([.adopted(taken)], at: [1], durably: false, now: now)
        let note = HistoryItem.note(taken.id, delivered([0, 1]), isEnd: true, context: taken)
        try book.commit([.adopted(taken), note], at: [2], durably: false, now: now)
        #expect(try book.timeline(of: taken.id).map(\.type) == [.delivered, .delivered, .finished])
        var query = HistoryQuery()
        query.filter.recipient = EmailAddress("y@b.example").map { .address($0) }
        query.statuses = [.delivered]
        let story = try #require(book.search(query, atMost: 5).stories.first)
        #expect(story.context == taken && story.finishedAt != nil)
        #expect(try book.contexts(near: taken.id) == [taken])
        #expect(try book.erase(recipient: "y@b.example", actor: nil, now: now) == 1)
        #expect(try book.search(query, atMost: 5).stories.isEmpty)
        #expect(try book.timeline(of: taken.id).allSatisfy { $0.data.recipient != "y@b.example" })
    }

    @Test func theSearchFindsWhatIsAskedFor() throws {
        let place = Place()
        let book = try book(place)
        for first in stride(from: 1 as UInt64, through: 3_000, by: 250) {
            try book.commit(story(first...first + 249), at: [1], durably: false, now: now)
        }
        func count(_ change: (inout HistoryQuery) -> Void) throws -> (Int, first: UInt64?) {
            var query = HistoryQuery()
            change(&query)
            var stories: [MessageStory] = []
            repeat {
                let page = try book.search(query, atMost: 100)
                stories += page.stories
                query.before = page.next
            } while query.before != nil
            return (stories.count, stories.first?.context.id.rawValue)
        }
        #expect(try count { _ in } == (3_000, 3_000))
        #expect(try count { $0.filter.tag = "TAG3" } == (429, 2_999))
        #expect(try count { $0.filter.domain = Domain("to4.example") } == (300, 2_994))
        #expect(try count { $0.filter.headerMessageID = "<77@from.example>" } == (1, 77))
        #expect(try count { $0.filter.sender = EmailAddress("a@FROM.example").map { .address($0) } } == (3_000, 3_000))
        #expect(try count { $0.filter.recipient = EmailAddress("user9@to9.example").map { .address($0) } } == (1, 9))
        #expect(try count { $0.filter.message = QueueID(rawValue: 5) } == (1, 5))
        #expect(try count { $0.statuses = [.bounced] } == (0, nil))
        #expect(
            try count {
                $0.filter.code = 250; $0.statuses = [.delivered]
            } == (3_000, 3_000)
        )
    }

    @Test func whoWaitsIsWoken() throws {
        let place = Place()
        let book = try book(place)
        #expect(!book.wait(behind: 0, atMost: 1))
        let told = NewsCount()
        let token = book.onNews { told.add() }
        try book.commit(story(1...1), at: [1], durably: false, now: now)
        #expect(book.wait(behind: 2, atMost: 60_000))
        #expect(told.count == 1)
        withExtendedLifetime(token) {}
    }
}

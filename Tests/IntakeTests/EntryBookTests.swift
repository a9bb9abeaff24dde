// EntryBookTests.swift — limits on the way in, as a value with time passed in: days in a moment.

import Config
import Intake
import Mail
import TestSupport
import Testing

struct EntryBookTests {
    private static let start = Timestamp(milliseconds: 1_800_000_000_000)

    private static func rules(_ text: String) throws -> EntryRules {
        try LimitSettings.read(INIDocument(parsing: text)).entries
    }

    private static func mail(_ login: String?, _ client: String = "192.0.2.7", to recipients: Int = 1) -> EntryMail {
        EntryMail(
            login: login,
            client: IPAddress(client),
            sender: "shop.example",
            recipients: recipients,
            bytes: 1000
        )
    }

    private static func isTaken(_ verdict: EntryVerdict) -> Bool { if case .taken = verdict { true } else { false } }

    /// A stolen password in a simulated day: 200 000 attempts beside fifty people who send as people do.
    @Test(arguments: [1, 2, 3] as [UInt64])
    func aStolenLoginIsStoppedAndNobodyElse(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var book = EntryBook()
        let rules = try Self.rules("[in login *]\nmessages = 200/h, 500/d\n")
        book.set(rules)
        var (stolen, alarms, refused) = ([Timestamp](), [Timestamp](), 0)
        var firstSurplus: Timestamp?
        var now = Self.start
        for round in 0..<200_000 {
            now = now.adding(milliseconds: Int64.random(in: 0...860, using: &random))
            if round == 100_000 { book = try Self.restarted(book, rules, at: now) }
            let source = "203.0.113.\(UInt8.random(in: 0...255, using: &random))"
            switch book.admit(Self.mail("stolen", source), at: now) {
            case .taken: stolen.append(now)
            case .surplus(let surplus):
                firstSurplus = firstSurplus ?? now
                if surplus.isNews { alarms.append(now) }
            case .parked: Issue.record("nobody is to be parked")
            }
            guard Int.random(in: 0..<60, using: &random) == 0 else { continue }
            let person = "person\(Int.random(in: 0..<50, using: &random))"
            if !Self.isTaken(book.admit(Self.mail(person), at: now)) { refused += 1 }
        }
        #expect(refused == 0)
        #expect(alarms.first == firstSurplus && firstSurplus != nil)
        #expect(zip(alarms, alarms.dropFirst()).allSatisfy { $1.milliseconds(since: $0) >= 3_600_000 })
        #expect(stolen.count >= 500)
        for (first, late) in zip(stolen, stolen.dropFirst(200)) { #expect(late.milliseconds(since: first) > 3_600_000) }
        for (first, late) in zip(stolen, stolen.dropFirst(500)) {
            #expect(late.milliseconds(since: first) > 86_400_000)
        }
    }

    /// Written down and read again.
    private static func restarted(_ book: EntryBook, _ rules: EntryRules, at now: Timestamp) throws -> EntryBook {
        let disk = MemoryDisk()
        let file = EntryFile(in: "/data", disk)
        try file.save(book)
        var again = EntryBook()
        file.load(into: &again, at: now)
        again.set(rules)
        try file.savePeople(book)
        file.load(into: &again, at: now)
        #expect(again.parked == book.parked && again.accounts.count == book.accounts.count)
        for (scope, account) in book.accounts {
            let other = try #require(again.accounts[scope])
            #expect(other.counts == account.counts && other.shares == account.shares)
            #expect(other.surplus == account.surplus && other.toldAt == account.toldAt)
            for (window, count) in account.people {
                #expect(other.people[window]?.total(at: now) == count.total(at: now))
            }
        }
        return again
    }

    @Test func aLoginIsParkedUntilItIsReleased() throws {
        var book = EntryBook()
        let rules = try Self.rules("[in login app]\nmessages = 2/d\nthen = park\n")
        book.set(rules)
        for _ in 0..<2 { #expect(Self.isTaken(book.admit(Self.mail("app"), at: Self.start))) }
        guard case .surplus(let surplus) = book.admit(Self.mail("app"), at: Self.start) else {
            Issue.record("the third is too much")
            return
        }
        #expect(surplus.isNews && surplus.words == "messages 2/d of login app (limits.ini:2)")
        let later = Self.start.adding(milliseconds: 40 * 86_400_000)
        book = try Self.restarted(book, rules, at: later)
        guard case .parked(let parking) = book.admit(Self.mail("app"), at: later) else {
            Issue.record("a park has no end")
            return
        }
        #expect(parking.reason == surplus.words && parking.actor.isEmpty)
        #expect(Self.isTaken(book.admit(Self.mail("other"), at: later)))
        #expect(book.release("app") != nil && book.release("app") == nil)
        #expect(Self.isTaken(book.admit(Self.mail("app"), at: later)))
    }

    @Test func aParkWithATimeEndsByItself() throws {
        var book = EntryBook()
        book.set(try Self.rules("[in login *]\nmessages = 1/m\nthen = park 2h\n"))
        _ = book.admit(Self.mail("app"), at: Self.start)
        _ = book.admit(Self.mail("app"), at: Self.start)
        let end = Self.start.adding(milliseconds: 7_200_000)
        #expect(book.releaseDue(at: end.adding(milliseconds: -1)).isEmpty)
        #expect(!Self.isTaken(book.admit(Self.mail("app"), at: end.adding(milliseconds: -1))))
        #expect(Self.isTaken(book.admit(Self.mail("app"), at: end)))
        book.park("app", Parking(since: end, until: end.adding(milliseconds: 5), reason: "", actor: "me"))
        #expect(book.releaseDue(at: end.adding(milliseconds: 5)) == ["app"])
    }

    @Test func allWindowsTakeAMessageOrNoneDoes() throws {
        var book = EntryBook()
        book.set(try Self.rules("[in login *]\nrecipients = 10/h\n[in network *]\nmessages = 3/h\n"))
        #expect(Self.isTaken(book.admit(Self.mail("a", to: 8), at: Self.start)))
        // Too many recipients, and so no message of the client's.
        for _ in 0..<5 { #expect(!Self.isTaken(book.admit(Self.mail("a", to: 3), at: Self.start))) }
        #expect(Self.isTaken(book.admit(Self.mail("a", to: 2), at: Self.start)))
        #expect(Self.isTaken(book.admit(Self.mail("b", to: 1), at: Self.start)))
        guard case .surplus(let surplus) = book.admit(Self.mail(nil, to: 1), at: Self.start) else {
            Issue.record("the client has sent three")
            return
        }
        #expect(surplus.scope == EntryScope("network", "192.0.2.7"))
        // More than there may be at all is said so.
        guard case .surplus(let never) = book.admit(Self.mail("c", "192.0.2.8", to: 11), at: Self.start) else {
            Issue.record("eleven are more than ten")
            return
        }
        #expect(never.isNever)
    }

    @Test func whatIsGivenBackCountsNoMore() throws {
        var book = EntryBook()
        book.set(try Self.rules("[in login *]\nmessages = 1/h\n"))
        guard case .taken(let use) = book.admit(Self.mail("a"), at: Self.start) else { return }
        #expect(!Self.isTaken(book.admit(Self.mail("a"), at: Self.start)))
        book.giveBack(use, at: Self.start)
        #expect(Self.isTaken(book.admit(Self.mail("a"), at: Self.start)))
    }

    @Test func whatIsHeldIsBoundedToo() throws {
        var book = EntryBook()
        book.set(try Self.rules("[in login *]\nmessages = 2/h\nthen = hold\n"))
        var held = 0
        for _ in 0..<10 {
            if case .taken(let use) = book.admit(Self.mail("a"), at: Self.start), use.surplus != nil { held += 1 }
        }
        #expect(held == 2)
        #expect(book.accounts[.login("a")]?.surplus == 8)
    }

    @Test func clientsAreCountedAsSubscribersAndExceptionsHold() throws {
        var book = EntryBook()
        book.set(
            try Self.rules(
                """
                [in network *]
                messages = 1/h
                [in network 10.0.0.0/8]
                messages = none
                [in network 198.51.100.0/24]
                together = yes
                messages = 2/h
                """
            )
        )
        func send(_ client: String) -> Bool { Self.isTaken(book.admit(Self.mail(nil, client), at: Self.start)) }
        #expect(send("2001:db8:0:1::1") && !send("2001:db8:0:1:ffff::2") && send("2001:db8:0:2::1"))
        #expect((0..<9).allSatisfy { _ in send("10.1.2.3") })
        #expect(send("198.51.100.1") && send("198.51.100.2") && !send("198.51.100.3"))
    }

    @Test func thoseSeenLongestAgoAreForgottenFirst() throws {
        var book = EntryBook()
        book.set(try Self.rules("[in login *]\nmessages = 1/d\n"))
        for number in 0..<20_000 {
            _ = book.admit(Self.mail("user\(number)"), at: Self.start.adding(milliseconds: Int64(number)))
        }
        #expect(book.accounts.count <= 16_384)
        #expect(book.accounts[.login("user19999")] != nil && book.accounts[.login("user0")] == nil)
    }

    @Test(arguments: [
        ("[in login]\nmessages = 1/h", "limits.ini:1: [in login] is not"),
        ("[in mailbox a]\nmessages = 1/h", "limits.ini:1: [in mailbox a] is not"),
        ("[in network 300.0.0.0/8]\nmessages = 1/h", "limits.ini:1:"),
        ("[in login a]\nmessages = 1", "limits.ini:2: \"1\" is not so many in so long, such as 20/m, 200/h, 5k/d"),
        ("[in login a]\nbytes = 1x/h", "limits.ini:2: \"1x/h\" is not so many in so long, such as 100M/d"),
        ("[in login a]\nmessages = 1/h, 2/1h", "limits.ini:2: names the same time twice"),
        ("[in login a]\nmesages = 1/h", "limits.ini:2: unknown key mesages"),
        ("[in network *]\nthen = park", "limits.ini:2: only a login can be parked"),
        ("[in login *]\nthen = shout", "limits.ini:2: \"shout\" is none of"),
        ("[in login a]\nbounce_ratio = 10/d", "limits.ini:2: \"10/d\" is not so many in so long, such as 10%/d"),
        ("[in login a]\nbounce_ratio = 10%/d of 9", "limits.ini:2: \"10%/d of 9\" is not"),
        ("[in login a]\nwaiting_messages = 10/d", "limits.ini:2: \"10/d\" is not a number"),
        ("[in login a]\nwaiting_bytes = many", "limits.ini:2: \"many\" is not a size"),
        ("[in network *]\nbounce_ratio = 10%/d", "limits.ini:2: bounce_ratio is about logins"),
        ("[in sender_domain *]\nwaiting_bytes = 1M", "limits.ini:2: waiting_bytes is about logins"),
        ("[in listener A.B]\nmessages = 1/h", "limits.ini:1: [in listener A.B] is not"),
        ("[in listener *]\nthen = park", "limits.ini:2: only a login can be parked"),
        ("[in login a]\n[in login a]\n", "limits.ini:2: [in login a] began in line 1 already"),
    ])
    func saysWhatIsWrongAndWhere(text: String, complaint: String) throws {
        let error = #expect(throws: ConfigErrors.self) { try LimitSettings.read(INIDocument(parsing: text)) }
        let words = error.map { $0.errors.map { "\($0)" } } ?? []
        #expect(words.contains { $0.hasPrefix(complaint) }, "\(words)")
    }
}

// EntryQuotaTests.swift — limits on the way in that are more than sums: different recipients, the share that bounces, what waits;
// as a value with time passed in.

import Config
import Files
import Intake
import Mail
import Queue
import TestSupport
import Testing

struct EntryQuotaTests {
    private static let start = Timestamp(milliseconds: 1_800_000_000_000)
    private static let day: Int64 = 86_400_000

    private static func book(_ text: String) throws -> EntryBook {
        var book = EntryBook(salt: 4711)
        book.set(try LimitSettings.read(INIDocument(parsing: text)).entries)
        return book
    }

    private static func mail(_ login: String, to people: [String] = ["b@b.test"], bytes: Int = 1000) -> EntryMail {
        var mail = EntryMail(login: login, client: nil, sender: nil, recipients: people.count, bytes: bytes)
        mail.people = people.compactMap { EmailAddress($0) }.map { Recipient($0) }
        return mail
    }

    private static func isTaken(_ verdict: EntryVerdict) -> Bool { if case .taken = verdict { true } else { false } }

    private static func restarted(_ book: EntryBook, at now: Timestamp) throws -> EntryBook {
        let file = EntryFile(in: "/data", MemoryDisk())
        try file.save(book)
        try file.savePeople(book)
        var again = EntryBook(salt: 1)
        file.load(into: &again, at: now)
        again.set(book.rules)
        return again
    }

    // MARK: Different recipients

    @Test func whoIsWrittenToAgainNeedsNoRoom() throws {
        var book = try Self.book("[in login *]\ndistinct_recipients = 3/d\n")
        func send(_ people: [String]) -> Bool { Self.isTaken(book.admit(Self.mail("a", to: people), at: Self.start)) }
        #expect(send(["x@a.test", "y@a.test", "X@A.test"]), "one person, however written")
        for _ in 0..<50 { #expect(send(["y@a.test", "x@a.test"])) }
        #expect(!send(["z@a.test", "w@a.test"]))
        #expect(send(["z@a.test"]) && !send(["w@a.test"]) && send(["z@a.test", "x@a.test"]))
        guard
            case .surplus(let never) = book.admit(
                Self.mail("b", to: ["1@a", "2@a", "3@a", "4@a"].map { $0 + ".test" }),
                at: Self.start
            )
        else {
            Issue.record("four are more than three")
            return
        }
        #expect(never.isNever && never.words == "distinct_recipients 3/d of login b (limits.ini:2)")
        // After a restart they are the same people.
        book = try Self.restarted(book, at: Self.start)
        #expect(send(["z@a.test", "y@a.test"]) && !send(["w@a.test"]))
        book.releaseAll(["a"])
        #expect(send(["w@a.test"]))
    }

    /// A stolen login that writes to another person each time, beside people who write to whom they know.
    @Test(arguments: [1, 2] as [UInt64])
    func aStolenLoginIsStoppedByWhomItWritesTo(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var book = try Self.book("[in login *]\ndistinct_recipients = 500/d\nthen = park\n")
        var (now, taken, refused) = (Self.start, 0, 0)
        var news: [Int] = []
        for round in 0..<50_000 {
            now = now.adding(milliseconds: Int64.random(in: 0...1700, using: &random))
            if round == 20_000 { book = try Self.restarted(book, at: now) }
            switch book.admit(Self.mail("stolen", to: ["\(round)@victim\(round % 97).test"]), at: now) {
            case .taken: taken += 1
            case .surplus(let surplus): if surplus.isNews { news.append(round) }
            case .parked: break
            }
            guard Int.random(in: 0..<10, using: &random) == 0 else { continue }
            let friends = (0..<5).map { _ in "friend\(Int.random(in: 0..<400, using: &random))@a.test" }
            if !Self.isTaken(book.admit(Self.mail("honest", to: friends), at: now)) { refused += 1 }
        }
        #expect(taken == 500 && news == [500], "the first one that is too much is told, and nothing is taken after it")
        #expect(refused == 0)
        #expect(book.parked["stolen"]?.reason.hasPrefix("distinct_recipients 500/d") ?? false)
    }

    @Test func memoryIsThatOfAMillionRecipients() throws {
        var book = try Self.book("[in login *]\ndistinct_recipients = 100k/d\n")
        var random = SeededRandom(seed: 3)
        for login in 0..<300 {
            let people = (0..<8000).map { _ in "\(random.next())@a.test" }
            let now = Self.start.adding(milliseconds: Int64(login))
            #expect(Self.isTaken(book.admit(Self.mail("user\(login)", to: people), at: now)))
        }
        let kept = book.accounts.values.reduce(0) { sum, account in
            sum + account.people.values.reduce(0) { $0 + $1.kept }
        }
        #expect(kept <= 1 << 20 && kept > 1 << 19)
        #expect(book.accounts[.login("user299")]?.people.isEmpty == false, "those seen last are known")
        #expect(book.accounts[.login("user0")]?.people.isEmpty == true)
    }

    // MARK: What bounces

    @Test func tooManyBouncesAreTooMuch() throws {
        var book = try Self.book("[in login *]\nbounce_ratio = 10%/d from 50\nthen = 550\n")
        func finish(_ delivered: Int, _ bounced: Int, _ now: Timestamp) {
            _ = book.finished([("a", MailResults(delivered: delivered, bounced: bounced))], at: now)
        }
        finish(0, 49, Self.start)
        #expect(Self.isTaken(book.admit(Self.mail("a"), at: Self.start)), "too few to tell")
        finish(441, 0, Self.start)
        #expect(Self.isTaken(book.admit(Self.mail("a"), at: Self.start)), "one in ten")
        let later = Self.start.adding(milliseconds: Self.day / 2)
        finish(5, 6, later)
        guard case .surplus(let surplus) = book.admit(Self.mail("a"), at: later) else {
            Issue.record("55 of 501 are more than one in ten")
            return
        }
        #expect(surplus.action == .refuse && surplus.isNews && !surplus.isNever)
        #expect(surplus.words == "bounce_ratio 10%/d from 50 of login a (limits.ini:2)")
        #expect(Self.isTaken(book.admit(Self.mail("b"), at: later)))
        book = try Self.restarted(book, at: later)
        #expect(!Self.isTaken(book.admit(Self.mail("a"), at: later)))
        // What is left then is too little to tell.
        #expect(surplus.opens > Self.start.adding(milliseconds: Self.day))
        #expect(Self.isTaken(book.admit(Self.mail("a"), at: surplus.opens)))
    }

    // MARK: What waits

    @Test func whatWaitsIsBoundedAlsoOnItsWay() throws {
        var book = try Self.book("[in login *]\nwaiting_messages = 10\nwaiting_bytes = 100K\n")
        var (queue, uses) = (WaitingMail(), [EntryUse]())
        func admit(_ bytes: Int) -> EntryVerdict {
            book.admit(Self.mail("a", bytes: bytes), at: Self.start) { _ in queue }
        }
        for _ in 0..<10 {
            guard case .taken(let use) = admit(1000) else {
                Issue.record("there is room")
                return
            }
            #expect(use.isSeated)
            uses.append(use)
        }
        #expect(!Self.isTaken(admit(1)), "ten are on their way")
        for use in uses {
            // It is filed before it gives up its seat.
            queue = queue + WaitingMail(messages: 1, bytes: 1000)
            book.leaveSeat(use)
        }
        #expect(book.seated.isEmpty && !Self.isTaken(admit(1)))
        queue = WaitingMail(messages: 9, bytes: 102_400 - 500)
        guard case .surplus(let surplus) = admit(501) else {
            Issue.record("one byte too much")
            return
        }
        #expect(surplus.measure == .waitingBytes && surplus.action == .later && !surplus.isNever)
        #expect(Self.isTaken(admit(500)))
        guard case .surplus(let never) = admit(102_401) else {
            Issue.record("it never fits")
            return
        }
        #expect(never.isNever)
    }

    @Test func whatIsHeldWaitsToo() throws {
        var book = try Self.book("[in login *]\nwaiting_messages = 1\nthen = hold\n")
        let full = book.admit(Self.mail("a"), at: Self.start) { _ in WaitingMail(messages: 1, bytes: 1) }
        guard case .surplus(let surplus) = full else {
            Issue.record("one more is never held")
            return
        }
        #expect(surplus.action == .later)
        #expect(Self.isTaken(book.admit(Self.mail("a"), at: Self.start)))
    }

    @Test func aListenerIsCountedWhoeverComes() throws {
        var book = try Self.book("[in listener *]\nmessages = 2/h\n[in listener inside]\nmessages = none\n")
        func send(_ listener: String?, _ login: String) -> Bool {
            var mail = Self.mail(login)
            mail.listener = listener
            return Self.isTaken(book.admit(mail, at: Self.start))
        }
        #expect(send("outside", "a") && send("outside", "b") && !send("outside", "c"))
        #expect((0..<9).allSatisfy { _ in send("inside", "a") && send(nil, "a") } && send("api", "a"))
        book = try Self.restarted(book, at: Self.start)
        #expect(!send("outside", "d") && send("api", "a") && !send("api", "a"))
    }
}

extension EntryBook {
    mutating func releaseAll(_ logins: [String]) {
        for login in logins {
            park(login, Parking(since: Timestamp(milliseconds: 0), until: nil, reason: "", actor: ""))
            _ = release(login)
        }
    }
}

// EntryGate.swift — the one place where mail that comes in is counted: for SMTP, the API and `sendmail` alike.
//
// Guarantees: with no `[in …]` section and nobody parked a message costs one look at a flag; the first mail that is too much is
// told at once (an event, a line in the log, a counter), and then once an hour while it goes on; what was counted survives
// restarts, but for the last second before a kill (different
// recipients: five seconds).

import Files
import History
package import Log
package import Mail
package import Queue
import Synchronization

/// Counts, parks, tells.
package final class EntryGate: Sendable {
    private let book = Mutex(EntryBook())
    /// Some rule or parking is there.
    private let isOn = Atomic(false)
    private let file: EntryFile?
    /// Something changed since it was written.
    private let isStale = Atomic(false)
    /// Milliseconds between two writings of different recipients.
    private static let peoplePause: Int64 = 5000

    /// Guards the files.
    private struct Writing {
        /// They could not be written, which was said.
        var isTroubled = false
        /// Which ``EntryBook/peopleChanges`` is on disk, and since when.
        var people = 0
        var peopleAt = Timestamp(milliseconds: 0)
    }

    private let writing = Mutex(Writing())
    private let log: LogSink
    /// Knows what waits of whom and what became of it, and takes what is to be an event.
    private let queue: MailQueue

    /// - Parameter file: nil: nothing is kept over a restart.
    package init(_ file: EntryFile?, _ queue: MailQueue, log: LogSink) {
        (self.file, self.queue, self.log) = (file, queue, log)
    }

    /// What an earlier process left: before mail is taken.
    ///
    /// Blocks.
    package func recover(at now: Timestamp) {
        change { book in file?.load(into: &book, at: now) }
    }

    /// Puts limits in force.
    package func apply(_ rules: EntryRules) { change { $0.set(rules) } }

    private func change<Value: Sendable>(_ body: (inout EntryBook) -> sending Value) -> Value {
        book.withLock { book in
            let value = body(&book)
            isOn.store(book.isOn, ordering: .releasing)
            EntryMetrics.show(parked: book.parked.count)
            return value
        }
    }

    // MARK: Mail

    /// Counts a message.
    ///
    /// - Returns: nil where nothing is limited.
    package func admit(_ mail: @autoclosure () -> EntryMail, at now: Timestamp) -> EntryVerdict? {
        guard isOn.load(ordering: .acquiring) else { return nil }
        let mail = mail()
        let verdict = book.withLock { $0.admit(mail, at: now, waiting: queue.waiting) }
        isStale.store(true, ordering: .releasing)
        switch verdict {
        case .surplus(let surplus): noted(surplus, mail, at: now)
        case .taken(let use): if let surplus = use.surplus { noted(surplus, mail, at: now) }
        case .parked: EntryMetrics.countParked()
        }
        return verdict
    }

    /// A message was not taken after all, for want of room or the like.
    package func giveBack(_ use: EntryUse, at now: Timestamp) { book.withLock { $0.giveBack(use, at: now) } }

    /// The seat of a message on its way into the queue; nil where nobody counts what waits.
    func seat(of use: EntryUse) -> EntrySeat? {
        use.isSeated ? EntrySeat { [self] in book.withLock { $0.leaveSeat(use) } } : nil
    }

    /// Somebody logged in.
    package func seen(_ login: String, from client: IPAddress?, at now: Timestamp) {
        book.withLock { $0.seen(.login(login), from: client, at: now) }
        isStale.store(true, ordering: .releasing)
    }

    /// An app password was used.
    package func seen(app name: String, of user: String, from client: IPAddress?, at now: Timestamp) {
        book.withLock { $0.seen(.app("\(name) \(user)"), from: client, at: now) }
        isStale.store(true, ordering: .releasing)
    }

    private func noted(_ surplus: Surplus, _ mail: EntryMail, at now: Timestamp) {
        EntryMetrics.count(surplus)
        if case .park = surplus.action { EntryMetrics.show(parked: book.withLock { $0.parked.count }) }
        guard surplus.isNews else { return }
        log.write(.warning, "too much mail comes in") { line in
            line.add(.scope, "\(surplus.scope)")
            line.add(.limit, surplus.words)
            if let login = mail.login { line.add(.user, login) }
            if let client = mail.client { line.add(.client, "\(client)") }
            line.add(.text, "then \(surplus.action.text)")
        }
        var fact = CommandFact(.credentialLimited, at: now)
        fact.subject = "\(surplus.scope)"
        let client = mail.client.map { ", client \($0)" } ?? ""
        let login = mail.login.map { ", login \($0)" } ?? ""
        fact.text = "\(surplus.words), then \(surplus.action.text)\(login)\(client)"
        fact.until = surplus.opens
        queue.tell(fact)
    }

    // MARK: Parking

    /// Stops a login.
    ///
    /// Blocks.
    /// - Returns: whether it is on disk; if not, it is in force all the same, and written as soon as that can be done.
    package func park(_ login: String, _ parking: Parking) -> Bool {
        change { $0.park(login, parking) }
        isStale.store(true, ordering: .releasing)
        var fact = CommandFact(.credentialParked, at: parking.since)
        (fact.actor, fact.subject, fact.until) = (parking.actor, "login \(login)", parking.until)
        fact.text = parking.reason.isEmpty ? nil : parking.reason
        queue.tell(fact)
        return keep()
    }

    /// Lets a login go on.
    ///
    /// Blocks.
    /// - Returns: false when it is not parked.
    package func release(_ login: String, by actor: String, at now: Timestamp) -> Bool {
        guard let known = change({ $0.release(login) }) else { return false }
        isStale.store(true, ordering: .releasing)
        var fact = CommandFact(.credentialReleased, at: now)
        (fact.actor, fact.subject) = (actor, "login \(login)")
        fact.text = known.reason.isEmpty ? nil : known.reason
        queue.tell(fact)
        _ = keep()
        return true
    }

    /// Once a second: what became of mail, logins whose time has come, and what is to be on disk.
    ///
    /// Blocks.
    /// - Parameter isLast: nothing comes after it.
    package func tick(at now: Timestamp = .now(), isLast: Bool = false) {
        let results = queue.takeResults()
        if !results.isEmpty, book.withLock({ $0.finished(results, at: now) }) {
            isStale.store(true, ordering: .releasing)
        }
        guard isStale.load(ordering: .acquiring) || isOn.load(ordering: .relaxed) else { return }
        for login in releaseDue(at: now) {
            var fact = CommandFact(.credentialReleased, at: now)
            (fact.subject, fact.text) = ("login \(login)", "its time has come")
            queue.tell(fact)
        }
        _ = keep(at: now, isLast: isLast)
    }

    private func releaseDue(at now: Timestamp) -> [String] {
        guard book.withLock({ $0.hasDue(at: now) }) else { return [] }
        isStale.store(true, ordering: .releasing)
        return change { $0.releaseDue(at: now) }
    }

    /// Writes what changed.
    private func keep(at now: Timestamp = .now(), isLast: Bool = false) -> Bool {
        guard let file else { return true }
        return writing.withLock { writing in
            guard isStale.exchange(false, ordering: .acquiringAndReleasing) else { return true }
            let book = snapshot
            do throws(DiskError) {
                try file.save(book)
                let pause = now.milliseconds(since: writing.peopleAt)
                if book.peopleChanges != writing.people, isLast || pause >= Self.peoplePause || pause < 0 {
                    try file.savePeople(book)
                    (writing.people, writing.peopleAt) = (book.peopleChanges, now)
                } else if book.peopleChanges != writing.people {
                    isStale.store(true, ordering: .releasing)
                }
                writing.isTroubled = false
                return true
            } catch {
                isStale.store(true, ordering: .releasing)
                if !writing.isTroubled {
                    log.write(.error, "limits of mail that comes in cannot be kept") { $0.add(.error, "\(error)") }
                }
                writing.isTroubled = true
                return false
            }
        }
    }

    /// Everybody, as they stand now.
    package var snapshot: EntryBook { book.withLock { $0 } }
}

/// A message on its way into the queue, where what waits of its login is limited: it counts as waiting until it leaves.
final class EntrySeat: Sendable {
    private let isLeft = Atomic(false)
    private let free: @Sendable () -> Void

    init(_ free: @escaping @Sendable () -> Void) { self.free = free }

    deinit { leave() }

    /// It is in the queue, or will not be.
    func leave() {
        if !isLeft.exchange(true, ordering: .acquiringAndReleasing) { free() }
    }
}

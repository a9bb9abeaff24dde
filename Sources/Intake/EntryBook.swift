// EntryBook.swift — what logins, clients and senders' domains have sent of late, who is parked, and what that means for one more
// message. A value; time is passed in.
//
// Guarantees: of all windows that count for a message either all take it or none; no window ever holds more than it may; memory
// is bounded, since those who were seen longest ago are forgotten first, and those who are parked never.

package import Mail
package import Queue

/// A message as far as it is counted.
package struct EntryMail: Hashable, Sendable {
    package var login: String?
    package var client: IPAddress?
    /// The domain of its envelope sender; nil for the null sender.
    package var sender: String?
    package var recipients: Int
    package var bytes: Int
    /// Who they are.
    package var people: [Recipient] = []
    /// Messages that it becomes in the queue.
    package var parts = 1
    /// The name of the listener that it came in at; nil: it has none.
    package var listener: String?

    package init(login: String?, client: IPAddress?, sender: String?, recipients: Int, bytes: Int) {
        (self.login, self.client, self.sender) = (login, client, sender)
        (self.recipients, self.bytes) = (recipients, bytes)
    }

    /// What will wait of it.
    var waiting: WaitingMail { WaitingMail(messages: parts, bytes: parts * bytes) }
}

/// Why nothing is taken of a login.
package struct Parking: Hashable, Sendable {
    package let since: Timestamp
    /// When it is over by itself; nil: when it is released.
    package let until: Timestamp?
    /// In words, at most 200 bytes.
    package let reason: String
    /// Who did it; empty: a limit.
    package let actor: String

    package init(since: Timestamp, until: Timestamp?, reason: String, actor: String) {
        (self.since, self.until, self.reason, self.actor) = (since, until, reason, actor)
    }
}

/// A limit that a message was too much for.
package struct Surplus: Hashable, Sendable {
    package let scope: EntryScope
    package let measure: EntryMeasure
    package let limit: EntryLimit
    /// `limits.ini:12`.
    package let origin: String
    package let action: EntryAction
    /// When there is room again.
    package let opens: Timestamp
    /// It is more than there may be at all, whoever waits how long.
    package let isNever: Bool
    /// Nobody was told of late.
    package var isNews = false

    /// In a sentence: `messages 200/h of login app (limits.ini:12)`.
    package var words: String { "\(measure.rawValue) \(limit.text) of \(scope) (\(origin))" }
}

/// What was counted for a message, to be given back when it was not taken after all.
package struct EntryUse: Hashable, Sendable {
    let mail: EntryMail
    let scopes: [EntryScope]
    /// It is kept back for this.
    package var surplus: Surplus?
    /// What waits of its login is limited, and it waits in the queue as yet not: it must be told that it does, or will not.
    package var isSeated = false
}

/// What limits say of a message.
package enum EntryVerdict: Hashable, Sendable {
    case taken(EntryUse)
    case surplus(Surplus)
    case parked(Parking)
}

/// Everybody that is counted.
package struct EntryBook: Sendable {
    /// Which window of which measure.
    package struct Key: Hashable, Sendable {
        package let measure: EntryMeasure
        package let window: Int64

        package init(measure: EntryMeasure, window: Int64) { (self.measure, self.window) = (measure, window) }
    }

    /// One scope.
    package struct Account: Hashable, Sendable {
        package var counts: [Key: WindowCount] = [:]
        /// Different recipients, by window.
        package var people: [Int64: DistinctCount] = [:]
        /// What became of recipients, by window.
        package var shares: [Int64: ShareCount] = [:]
        /// Messages that were too much since it was first seen.
        package var surplus = 0
        package var toldAt: Timestamp?
        package var seenAt: Timestamp
        package var address: IPAddress?
    }

    /// Accounts that are remembered.
    private static let capacity = 16_384
    /// Recipients that are remembered of all of them together, for ``EntryMeasure/distinct``.
    private static let mostPeople = 1 << 20
    /// Milliseconds between two alarms about the same.
    private static let alarmPause: Int64 = 3_600_000

    package private(set) var rules = EntryRules()
    package private(set) var accounts: [EntryScope: Account] = [:]
    package private(set) var parked: [String: Parking] = [:]
    /// What is on its way into the queue, of logins whose waiting mail is limited.
    package private(set) var seated: [String: WaitingMail] = [:]
    /// Makes numbers of recipients that nobody outside can foresee.
    package private(set) var salt: UInt64
    /// Grows with every recipient that is counted as such.
    package private(set) var peopleChanges = 0
    private var people = 0

    /// - Parameter salt: of the numbers of recipients.
    package init(salt: UInt64 = .random(in: 0 ... .max)) { self.salt = salt }

    /// There is something to ask.
    package var isOn: Bool { !rules.isEmpty || !parked.isEmpty }

    /// Puts limits in force; what was counted stays.
    package mutating func set(_ rules: EntryRules) { self.rules = rules }

    // MARK: One message

    /// Counts a message where it may come in.
    ///
    /// - Parameter waiting: what waits of a login in the queue.
    package mutating func admit(
        _ mail: EntryMail,
        at now: Timestamp,
        waiting: (String) -> WaitingMail = { _ in WaitingMail() }
    ) -> EntryVerdict {
        if let login = mail.login, let parking = parked[login] {
            guard let until = parking.until, until <= now else { return .parked(parking) }
            parked[login] = nil
        }
        let concerned = concerned(mail)
        var measured = MeasuredMail(mail)
        measured.measure(concerned.map(\.1), salt, waiting, seated)
        var found: Surplus?
        for (scope, terms) in concerned {
            open(scope, mail, at: now)
            let surplus = surplus(measured, scope, terms, at: now)
            if let surplus, found.map({ $0.action < surplus.action }) ?? true { found = surplus }
        }
        let scopes = concerned.map(\.0)
        guard var surplus = found else { return .taken(take(measured, scopes, nil, at: now)) }
        surplus.isNews = tell(surplus.scope, at: now)
        switch surplus.action {
        case .hold: return .taken(take(measured, scopes, surplus, at: now))
        case .later, .refuse: break
        case .park(let time):
            guard let login = mail.login else { break }
            let until = time.map { now.adding(milliseconds: $0) }
            parked[login] = Parking(since: now, until: until, reason: surplus.words, actor: "")
        }
        return .surplus(surplus)
    }

    /// A message was not taken after all, and not because of anything in it.
    ///
    /// Its recipients are known from now on: when it comes again, they are the same.
    package mutating func giveBack(_ use: EntryUse, at now: Timestamp) {
        count(MeasuredMail(use.mail), use.scopes, -1, at: now)
    }

    /// A message that was on its way is in the queue, or will not be.
    package mutating func leaveSeat(_ use: EntryUse) {
        guard use.isSeated, let login = use.mail.login, let there = seated[login] else { return }
        let left = WaitingMail(
            messages: there.messages - use.mail.waiting.messages,
            bytes: there.bytes - use.mail.waiting.bytes
        )
        seated[login] = left.messages > 0 ? left : nil
    }

    /// Those whose limits count for a message.
    private func concerned(_ mail: EntryMail) -> [(EntryScope, EntryTerms)] {
        guard !rules.isEmpty else { return [] }
        var concerned: [(EntryScope, EntryTerms)] = []
        if let login = mail.login, let terms = rules.terms(for: .login(login)) {
            concerned.append((.login(login), terms))
        }
        if let client = mail.client, let (scope, terms) = rules.terms(of: client) { concerned.append((scope, terms)) }
        if let sender = mail.sender, let terms = rules.terms(for: .sender(sender)) {
            concerned.append((.sender(sender), terms))
        }
        if let listener = mail.listener, let terms = rules.terms(for: .listener(listener)) {
            concerned.append((.listener(listener), terms))
        }
        return concerned
    }

    private mutating func take(
        _ measured: MeasuredMail,
        _ scopes: [EntryScope],
        _ surplus: Surplus?,
        at now: Timestamp
    ) -> EntryUse {
        count(measured, scopes, 1, at: now)
        var use = EntryUse(mail: measured.mail, scopes: scopes, surplus: surplus)
        if measured.isOfWaiting, let login = measured.mail.login {
            seated[login] = (seated[login] ?? WaitingMail()) + measured.mail.waiting
            use.isSeated = true
        }
        return use
    }

    private mutating func count(_ measured: MeasuredMail, _ scopes: [EntryScope], _ sign: Int, at now: Timestamp) {
        for scope in scopes {
            guard let terms = terms(of: scope, measured.mail.client) else { continue }
            for (measure, limits) in terms.limits {
                for limit in limits {
                    if let amount = measured.sum(measure) {
                        let key = Key(measure: measure, window: limit.window)
                        accounts[scope]?.counts[key, default: WindowCount(window: limit.window)]
                            .add(sign * amount, at: now)
                    } else if measure == .distinct, sign > 0 {
                        note(measured.keys, scope, limit.window, at: now)
                    }
                }
            }
        }
    }

    private mutating func note(_ keys: [UInt64], _ scope: EntryScope, _ window: Int64, at now: Timestamp) {
        let before = accounts[scope]?.people[window]?.kept ?? 0
        accounts[scope]?.people[window, default: DistinctCount(window: window)].add(keys, at: now)
        people += (accounts[scope]?.people[window]?.kept ?? 0) - before
        peopleChanges += 1
        guard people > Self.mostPeople else { return }
        // Of those who were seen longest ago it is forgotten whom they wrote to.
        for (other, _) in accounts.sorted(by: { $0.value.seenAt < $1.value.seenAt }) where other != scope {
            guard people > Self.mostPeople / 4 * 3 else { break }
            forgetPeople(of: other)
        }
    }

    private mutating func forgetPeople(of scope: EntryScope) {
        people -= accounts[scope]?.people.values.reduce(0) { $0 + $1.kept } ?? 0
        accounts[scope]?.people = [:]
    }

    /// Recipients of logins' mail are done.
    ///
    /// - Returns: whether somebody counts that.
    package mutating func finished(_ results: [(name: String, results: MailResults)], at now: Timestamp) -> Bool {
        var counts = false
        for (name, result) in results {
            guard let limits = rules.terms(for: .login(name))?.limits[.bounces], !limits.isEmpty else { continue }
            counts = true
            if accounts[.login(name)] == nil {
                makeRoom()
                accounts[.login(name)] = Account(seenAt: now)
            }
            for limit in limits {
                accounts[.login(name)]?.shares[limit.window, default: ShareCount(window: limit.window)]
                    .add(result, at: now)
            }
        }
        return counts
    }

    /// What counts for a scope; for a client, what its network says.
    package func terms(of scope: EntryScope, _ client: IPAddress? = nil) -> EntryTerms? {
        guard case .network(let network) = scope else { return rules.terms(for: scope) }
        return rules.terms(of: client ?? network.address)?.terms ?? rules.terms(for: scope)
    }

    private mutating func tell(_ scope: EntryScope, at now: Timestamp) -> Bool {
        guard var account = accounts[scope] else { return true }
        account.surplus += 1
        let isNews = account.toldAt.map { now.milliseconds(since: $0) >= Self.alarmPause || $0 > now } ?? true
        if isNews { account.toldAt = now }
        accounts[scope] = account
        return isNews
    }

    // MARK: Accounts

    private mutating func open(_ scope: EntryScope, _ mail: EntryMail, at now: Timestamp) {
        if accounts[scope] == nil {
            makeRoom()
            accounts[scope] = Account(seenAt: now)
        }
        accounts[scope]?.seenAt = now
        if let client = mail.client { accounts[scope]?.address = client }
    }

    /// Somebody logged in.
    package mutating func seen(_ scope: EntryScope, from client: IPAddress?, at now: Timestamp) {
        open(scope, EntryMail(login: nil, client: client, sender: nil, recipients: 0, bytes: 0), at: now)
    }

    /// Forgets a quarter, those first who were seen longest ago.
    private mutating func makeRoom() {
        guard accounts.count >= Self.capacity else { return }
        let oldest = accounts.sorted { $0.value.seenAt < $1.value.seenAt }.prefix(Self.capacity / 4)
        for (scope, _) in oldest {
            forgetPeople(of: scope)
            accounts[scope] = nil
        }
    }

    /// As it was written down.
    package mutating func restore(_ scope: EntryScope, _ account: Account) {
        guard accounts.count < Self.capacity else { return }
        accounts[scope] = account
    }

    /// Whom a scope wrote to, as it was written down.
    package mutating func restore(_ scope: EntryScope, _ count: DistinctCount, window: Int64) {
        guard accounts[scope] != nil, people + count.kept <= Self.mostPeople else { return }
        people += count.kept - (accounts[scope]?.people[window]?.kept ?? 0)
        accounts[scope]?.people[window] = count
    }

    /// Recipients have the numbers that they had when they were written down.
    package mutating func restore(salt: UInt64) { self.salt = salt }

    // MARK: Parking

    /// Stops a login, and says so to whoever asks.
    package mutating func park(_ login: String, _ parking: Parking) { parked[login] = parking }

    /// Lets a login go on.
    ///
    /// - Returns: how it was parked; nil when it was not.
    package mutating func release(_ login: String) -> Parking? {
        guard let known = parked.removeValue(forKey: login) else { return nil }
        // What is too much next is news again; and it would be too much at once, were its windows still full.
        accounts[.login(login)]?.toldAt = nil
        accounts[.login(login)]?.counts = [:]
        accounts[.login(login)]?.shares = [:]
        forgetPeople(of: .login(login))
        peopleChanges += 1
        return known
    }

    /// The time of some login has come.
    package func hasDue(at now: Timestamp) -> Bool { parked.contains { $0.value.until.map { $0 <= now } ?? false } }

    /// Those whose time has come go on.
    package mutating func releaseDue(at now: Timestamp) -> [String] {
        let due = parked.filter { $0.value.until.map { $0 <= now } ?? false }.map(\.key)
        for login in due { parked[login] = nil }
        return due
    }
}

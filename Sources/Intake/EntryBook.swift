// EntryBook.swift — what logins, clients and senders' domains have sent of late, who is parked, and what that means for one more
// message. A value; time is passed in.
//
// Guarantees: of all windows that count for a message either all take it or none; no window ever holds more than it may; memory
// is bounded, since those who were seen longest ago are forgotten first, and those who are parked never.

package import Mail

/// A message as far as it is counted.
package struct EntryMail: Hashable, Sendable {
    package var login: String?
    package var client: IPAddress?
    /// The domain of its envelope sender; nil for the null sender.
    package var sender: String?
    package var recipients: Int
    package var bytes: Int

    package init(login: String?, client: IPAddress?, sender: String?, recipients: Int, bytes: Int) {
        (self.login, self.client, self.sender) = (login, client, sender)
        (self.recipients, self.bytes) = (recipients, bytes)
    }

    func amount(_ measure: EntryMeasure) -> Int {
        switch measure {
        case .messages: 1
        case .recipients: recipients
        case .bytes: bytes
        }
    }
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
    /// It is more than there may be at all.
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
        /// Messages that were too much since it was first seen.
        package var surplus = 0
        package var toldAt: Timestamp?
        package var seenAt: Timestamp
        package var address: IPAddress?
    }

    /// Accounts that are remembered.
    private static let capacity = 16_384
    /// Milliseconds between two alarms about the same.
    private static let alarmPause: Int64 = 3_600_000

    package private(set) var rules = EntryRules()
    package private(set) var accounts: [EntryScope: Account] = [:]
    package private(set) var parked: [String: Parking] = [:]

    package init() {}

    /// There is something to ask.
    package var isOn: Bool { !rules.isEmpty || !parked.isEmpty }

    /// Puts limits in force; what was counted stays.
    package mutating func set(_ rules: EntryRules) { self.rules = rules }

    // MARK: One message

    /// Counts a message where it may come in.
    package mutating func admit(_ mail: EntryMail, at now: Timestamp) -> EntryVerdict {
        if let login = mail.login, let parking = parked[login] {
            guard let until = parking.until, until <= now else { return .parked(parking) }
            parked[login] = nil
        }
        var (scopes, found): ([EntryScope], Surplus?) = ([], nil)
        for (scope, terms) in concerned(mail) {
            scopes.append(scope)
            open(scope, mail, at: now)
            let surplus = surplus(mail, scope, terms, at: now)
            if let surplus, found.map({ $0.action < surplus.action }) ?? true { found = surplus }
        }
        guard var surplus = found else { return .taken(take(mail, scopes, nil, at: now)) }
        surplus.isNews = tell(surplus.scope, at: now)
        switch surplus.action {
        case .hold: return .taken(take(mail, scopes, surplus, at: now))
        case .later, .refuse: break
        case .park(let time):
            guard let login = mail.login else { break }
            let until = time.map { now.adding(milliseconds: $0) }
            parked[login] = Parking(since: now, until: until, reason: surplus.words, actor: "")
        }
        return .surplus(surplus)
    }

    /// A message was not taken after all, and not because of anything in it.
    package mutating func giveBack(_ use: EntryUse, at now: Timestamp) { count(use.mail, use.scopes, -1, at: now) }

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
        return concerned
    }

    /// The limit of a scope that a message is too much for; of several the one that opens last.
    private func surplus(_ mail: EntryMail, _ scope: EntryScope, _ terms: EntryTerms, at now: Timestamp) -> Surplus? {
        var found: Surplus?
        for (measure, limits) in terms.limits {
            let amount = mail.amount(measure)
            for limit in limits {
                let count = accounts[scope]?.counts[Key(measure: measure, window: limit.window)]
                let blank = WindowCount(window: limit.window)
                guard let opens = (count ?? blank).opens(limit.most, for: amount, at: now) else { continue }
                if let found, found.isNever || found.opens >= opens, amount <= limit.most { continue }
                var action = terms.then ?? .later
                // What is held back is bounded too.
                if action == .hold, (count ?? blank).opens(limit.most * 2, for: amount, at: now) != nil {
                    action = .later
                }
                found = Surplus(
                    scope: scope,
                    measure: measure,
                    limit: limit,
                    origin: terms.origins[measure.rawValue] ?? "",
                    action: action,
                    opens: opens,
                    isNever: amount > limit.most
                )
            }
        }
        return found
    }

    private mutating func take(
        _ mail: EntryMail,
        _ scopes: [EntryScope],
        _ surplus: Surplus?,
        at now: Timestamp
    ) -> EntryUse {
        count(mail, scopes, 1, at: now)
        return EntryUse(mail: mail, scopes: scopes, surplus: surplus)
    }

    private mutating func count(_ mail: EntryMail, _ scopes: [EntryScope], _ sign: Int, at now: Timestamp) {
        for scope in scopes {
            guard let terms = terms(of: scope, mail.client) else { continue }
            for (measure, limits) in terms.limits {
                for limit in limits {
                    accounts[scope]?.counts[
                        Key(measure: measure, window: limit.window),
                        default: WindowCount(window: limit.window)
                    ].add(sign * mail.amount(measure), at: now)
                }
            }
        }
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
        for (scope, _) in oldest { accounts[scope] = nil }
    }

    /// As it was written down.
    package mutating func restore(_ scope: EntryScope, _ account: Account) {
        guard accounts.count < Self.capacity else { return }
        accounts[scope] = account
    }

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

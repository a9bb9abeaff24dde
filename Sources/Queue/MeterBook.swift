// MeterBook.swift — every meter, by its scope; rules and pauses that make them; mail scopes. A value that knows no lane.
//
// Without rules and pauses nothing in it is touched: ``isOn`` is all that anybody asks.

import HeapModule
import Mail

/// Limits and pauses in force.
struct MeterBook: Sendable {
    private(set) var rules = LimitRules()
    private(set) var pauses: [LimitScope: Pause] = [:]
    /// What reactions hold down.
    private(set) var slowings: [LimitScope: Slowing] = [:]
    /// Some rule or pause is there.
    private(set) var isOn = false
    /// Several nodes share the queue, and its limits.
    private(set) var isShared = false
    /// Some rule counts messages of a day.
    private(set) var hasDays = false
    /// What is asked of mail.
    private(set) var asksSender = false
    private(set) var asksUser = false
    /// Some rule, pause or reaction is about a sender's domain and where its mail goes.
    private(set) var asksWay = false
    private(set) var asksDomain = false
    private(set) var asksTag = false
    /// Some rule or pause is about a provider.
    private(set) var asksHosts = false

    var meters = HandleTable<MeterNumber, Meter>()
    private var index: [LimitScope: MeterNumber] = [:]
    var timers = Heap<MeterTimer>()
    var scopes = HandleTable<ScopeNumber, MailScope>()
    private var scopeIndex: [MailKey: ScopeNumber] = [:]
    var tickets = HandleTable<Ticket, TicketScope>()
    /// What an earlier process had used, until its meter is made.
    var saved: [LimitScope: MeterRecord] = [:]
    /// Milliseconds from the uptime to the wall clock.
    var epoch: Int64 = 0
    private var stamps: UInt32 = 0
    private var sweepsAt = 1024
    /// Lanes whose openings wait in vain.
    var dismissals: [Lane] = []
    /// Something is to be looked at again although no meter says when.
    var againAt: Uptime?
    /// Lanes are to be bound to a meter that was not there: once a second, however many there are.
    var isUnbound = false
    /// When the pause of everything ends.
    private(set) var allEnds: Uptime?
    /// The pause of everything is over, and nobody took it away yet.
    private var isAllOver = false

    /// Some rule or pause is about mail, and not about lanes.
    var asksMail: Bool { asksSender || asksUser || asksDomain || asksTag }

    /// Everything is paused.
    var stopsAll: Bool { isOn && pauses[.all] != nil && !isAllOver }

    /// The time of the pause of everything has come.
    mutating func endAll() { (allEnds, isAllOver) = (nil, true) }

    func wall(_ now: Uptime) -> Timestamp { Timestamp(milliseconds: now.milliseconds).adding(milliseconds: epoch) }

    func uptime(_ time: Timestamp) -> Uptime {
        Uptime(milliseconds: time.milliseconds).adding(milliseconds: -epoch)
    }

    /// From now on rules hold over several nodes.
    mutating func share() {
        isShared = true
        changed()
    }

    // MARK: rules and pauses

    mutating func set(_ rules: LimitRules) {
        self.rules = rules
        changed()
    }

    mutating func set(_ pause: Pause?, for scope: LimitScope) {
        pauses[scope] = pause
        if case .all = scope { (allEnds, isAllOver) = (pause?.until.map(uptime), false) }
        changed()
    }

    /// Something is held down, or no longer.
    ///
    /// - Returns: whether the scope has no meter yet or needs none any more, so that lanes are to be bound again.
    mutating func set(_ slowing: Slowing?, for scope: LimitScope) -> Bool {
        slowings[scope] = slowing
        if !scope.isOfMail, let number = index[scope] {
            isOn = true
            describe(number)
            return meters[number].members == 0
        }
        changed()
        return true
    }

    /// What counts for a scope: what the file says, and what reactions make of it.
    func terms(for scope: LimitScope) -> LimitTerms? {
        switch scope {
        case .warmup(_, let address):
            // An address's warm-up counts where it is counted, and nowhere else.
            guard let source = rules.terms(for: .source(address)), let warmup = source.warmup else { return nil }
            var terms = LimitTerms()
            (terms.warmup, terms.origins[.warmup]) = (warmup, source.origins[.warmup])
            terms.overflow = source.overflow
            return terms
        case .source:
            guard var terms = rules.terms(for: scope) else { return slowings[scope]?.over(LimitTerms()) }
            terms.warmup = nil
            if terms.isEmpty, slowings[scope] == nil { return nil }
            return slowings[scope]?.over(terms) ?? terms
        default: break
        }
        let terms = rules.terms(for: scope)
        guard !slowings.isEmpty, let slowing = slowings[scope] else { return terms }
        return slowing.over(terms ?? LimitTerms())
    }

    /// Rules or pauses changed: every meter and every mail scope says what they say now.
    private mutating func changed() {
        // Who waits for what is gone is let on first.
        isOn = isOn || !rules.isEmpty || !pauses.isEmpty || !slowings.isEmpty
        let asked = (asksSender, asksUser, asksTag)
        let scopes = Array(rules.rules.keys) + Array(pauses.keys) + Array(slowings.keys)
        func asks(_ word: String) -> Bool { scopes.contains { $0.word.isSame(octets: word) } }
        (asksSender, asksUser, asksDomain) = (asks("sender"), asks("user"), asks("domain"))
        asksTag = asks("tag")
        asksWay = scopes.contains { if case .senderTo = $0 { true } else { false } }
        hasDays = rules.rules.values.contains { $0.daily != nil }
        asksHosts = !rules.providers.isEmpty || asks("provider")
        let asksMore = asksSender && !asked.0 || asksUser && !asked.1 || asksTag && !asked.2
        for number in index.values { describe(number) }
        for number in scopeIndex.values {
            let key = self.scopes[number].key
            // A domain that nobody asked about may be asked about now.
            if asksMore || asksDomain && key.domain == nil || asksWay && key.way == nil {
                self.scopes[number].isStale = true
            }
            rebind(number)
        }
    }

    /// Nothing is limited or paused any more, and nobody waits.
    mutating func turnOff() { if rules.isEmpty, pauses.isEmpty, slowings.isEmpty, timers.isEmpty { isOn = false } }

    private mutating func describe(_ number: MeterNumber) {
        let scope = meters[number].scope
        meters[number].terms = terms(for: scope) ?? LimitTerms()
        if isShared {
            if meters[number].part == nil { meters[number].part = MeterPart() }
            meters[number].part?.set(rules.terms(for: scope))
        }
        meters[number].pause = pauses[scope]
        meters[number].pauseEnds = pauses[scope]?.until.map(uptime)
    }

    /// Whether anything is said about a scope.
    func isAsked(_ scope: LimitScope) -> Bool {
        pauses[scope] != nil || slowings[scope] != nil || terms(for: scope) != nil
    }

    // MARK: meters

    /// The meter of a scope that something is said about.
    mutating func meter(_ scope: LimitScope) -> MeterNumber? {
        guard isAsked(scope) else { return nil }
        if let number = index[scope] { return number }
        stamps &+= 1
        var meter = Meter(scope, stamp: stamps)
        if let record = saved.removeValue(forKey: scope) {
            (meter.rate, meter.connects, meter.day, meter.warmth) = (
                record.rate, record.connects, record.day, record.warmth
            )
        }
        let number = meters.add(meter)
        index[scope] = number
        describe(number)
        return number
    }

    /// What is counted for a scope, also where nobody uses its meter yet; nil: nothing is said about it.
    func value(of scope: LimitScope) -> Meter? {
        if let number = index[scope] { return meters[number] }
        guard isAsked(scope) else { return nil }
        var meter = Meter(scope, stamp: 0)
        if let record = saved[scope] {
            (meter.rate, meter.connects, meter.day, meter.warmth) = (
                record.rate, record.connects, record.day, record.warmth
            )
        }
        (meter.terms, meter.pause) = (terms(for: scope) ?? LimitTerms(), pauses[scope])
        meter.pauseEnds = pauses[scope]?.until.map(uptime)
        return meter
    }

    /// The meter that a scope has already.
    func known(_ scope: LimitScope) -> MeterNumber? { index[scope] }

    var all: some Collection<MeterNumber> { index.values }

    /// Forgets meters that nobody would miss, when there are many.
    mutating func sweep(at now: Uptime) {
        guard index.count >= sweepsAt else { return }
        let wall = wall(now)
        for (scope, number) in index where meters[number].isIdle(at: now, wall) {
            index[scope] = nil
            meters.giveBack(number, leaving: Meter(.all, stamp: 0))
        }
        sweepsAt = max(1024, index.count * 2)
    }

    /// When some meter looks again.
    var nextWakeup: Uptime? { [timers.min?.due, againAt, allEnds].compactMap(\.self).min() }

    /// A meter is to look again.
    mutating func wake(_ number: MeterNumber, at time: Uptime) {
        if let earlier = meters[number].wakesAt, earlier <= time { return }
        meters[number].wakesAt = time
        timers.insert(MeterTimer(due: time, meter: number, stamp: meters[number].stamp))
    }

    /// The next meter whose time has come.
    mutating func woken(at now: Uptime) -> MeterNumber? {
        while let timer = timers.min, timer.due <= now {
            timers.removeMin()
            guard meters[timer.meter].stamp == timer.stamp, meters[timer.meter].wakesAt == timer.due else { continue }
            meters[timer.meter].wakesAt = nil
            return timer.meter
        }
        return nil
    }

    /// What counts for a lane with those hosts.
    func scopes(of lane: Lane, hosts: [String]) -> [LimitScope] {
        var scopes = lane.scopes
        let provider = rules.provider(of: hosts)
        if let provider { scopes.append(.provider(provider)) }
        for address in lane.source?.addresses ?? [] {
            if let provider { scopes.append(.providerFrom(provider, address.description)) }
            guard let warmup = rules.terms(for: .source(address.description))?.warmup else { continue }
            scopes.append(.warmup(warmup.place(provider: provider), address.description))
        }
        return scopes
    }

    // MARK: mail

    /// What is asked of a parcel.
    ///
    /// - Parameters:
    ///   - domain: that of all its recipients, where the lane does not tell it.
    ///   - lane: where it goes.
    func key(_ envelope: Envelope, domain: String?, lane: Lane) -> MailKey {
        var key = MailKey()
        if asksWay, case .address(let address) = envelope.sender {
            let way = LimitScope.senderTo(address.domain.name, lane.name)
            if isAsked(way) { key.way = way }
        }
        if asksSender, case .address(let address) = envelope.sender { key.sender = address.domain.name }
        if asksUser { key.user = envelope.user }
        if asksTag { key.tag = envelope.notes.tag }
        if let domain, asksDomain, isAsked(.domain(domain)) { key.domain = domain }
        return key
    }

    /// Enters a parcel into its scope.
    mutating func join(_ ticket: Ticket, _ key: MailKey) {
        tickets.reach(ticket, with: TicketScope())
        leave(ticket)
        let number: ScopeNumber
        if let known = scopeIndex[key] {
            number = known
            scopes[number].isStale = false
        } else {
            number = scopes.add(MailScope(key: key))
            scopeIndex[key] = number
            rebind(number)
        }
        scopes[number].members += 1
        tickets[ticket].scope = number
    }

    /// Takes a parcel out of its scope.
    mutating func leave(_ ticket: Ticket) {
        guard ticket.place < tickets.count else { return }
        let number = tickets[ticket].scope
        guard number != .null else { return }
        tickets[ticket].scope = .null
        scopes[number].members -= 1
        guard scopes[number].members == 0 else { return }
        for meter in scopes[number].meters { meters[meter].members -= 1 }
        scopeIndex[scopes[number].key] = nil
        scopes.giveBack(number, leaving: MailScope(key: MailKey()))
    }

    /// The scope of a parcel that was looked at as closely as is asked now.
    func scope(of ticket: Ticket) -> ScopeNumber? {
        guard ticket.place < tickets.count else { return nil }
        let number = tickets[ticket].scope
        return number == .null || scopes[number].isStale ? nil : number
    }

    private mutating func rebind(_ number: ScopeNumber) {
        let key = scopes[number].key
        var wanted: [LimitScope] = []
        if let sender = key.sender { wanted.append(.sender(sender)) }
        if let user = key.user { wanted.append(.user(user)) }
        if let tag = key.tag { wanted.append(.tag(tag)) }
        if let domain = key.domain { wanted.append(.domain(domain)) }
        if let way = key.way { wanted.append(way) }
        for meter in scopes[number].meters { meters[meter].members -= 1 }
        scopes[number].meters = wanted.compactMap { meter($0) }
        for meter in scopes[number].meters { meters[meter].members += 1 }
    }
}

// LookupTurns.swift — which question goes to the resolver next: pure policy, time is passed in.
//
// A resolver keeps a question about a dead domain for a minute and longer, and most take no more than so many from one
// client (unbound: 1000), good ones included. So: questions without an answer are counted as long as the resolver may
// hold them; names that were answered quickly before go first; names that were slow before hold half of the places at
// most; of the others the newest question goes first, because an answer comes in milliseconds and whoever waits is held up
// by the dead; and no burst takes every place at once.

import Mail

/// Keeps the questions that wait and those that are out.
///
/// Fetches of policies and tokens take their turns by the same rule.
package struct LookupTurns {
    /// A moment that does not depend on anybody's clock.
    package typealias Instant = ContinuousClock.Instant

    private struct Question {
        let name: String
        let since: Instant
        /// When it went out.
        var launched: Instant?
        var isStuck = false
    }

    /// How long a name is asked for behind others after it was slow.
    private static let memory: Duration = .seconds(1800)
    /// An answer that comes later than this was slow.
    private static let slowness: Duration = .seconds(2)
    /// A question that has waited longer than this does not use the places kept for newcomers.
    private static let newcomer: Duration = .seconds(1)
    private static let mostSlowNames = 20_000
    /// Names that were answered quickly: those of the latest answers, twice as many at most.
    private static let mostGoodNames = 10_000

    private let limit: Int
    private let soon: Duration
    private let held: Duration
    private var flying: [UInt64: Question] = [:]
    private var waiting: [UInt64: Question] = [:]
    /// Waiting questions about names that were answered quickly, the oldest first; those that are gone are skipped.
    private var good: ArraySlice<UInt64> = []
    /// Waiting questions about names without a past, the newest last; those that are gone are skipped.
    private var fresh: [UInt64] = []
    /// Waiting questions about names that were asked for in vain a short while ago, without anybody's fault, the oldest first:
    /// they are no newcomers.
    private var again: ArraySlice<UInt64> = []
    private var waitedNames = Bounded<String, Instant>(atLeast: mostSlowNames)
    /// Waiting questions about names that were slow, the oldest first.
    private var slow: ArraySlice<UInt64> = []
    /// Launches in order, for those that are not stuck yet.
    private var launches: ArraySlice<(id: UInt64, at: Instant)> = []
    private var stuck = 0
    /// When the resolver will have given up what we gave up, in order.
    private var abandoned: ArraySlice<Instant> = []
    private var slowNames = Bounded<String, Instant>(atLeast: mostSlowNames)
    private var goodNames = Bounded<String, Bool>(atLeast: mostGoodNames)

    /// - Parameters:
    ///   - limit: questions that are out at once.
    ///   - soon: an answer that has not come by then is likely to take seconds.
    ///   - held: how long a question that we have given up still takes its place.
    package init(limit: Int, soon: Duration = .milliseconds(250), held: Duration = .seconds(110)) {
        self.limit = max(1, limit)
        self.soon = soon
        self.held = held
    }

    /// Somebody waits.
    package var isAwaited: Bool { !waiting.isEmpty }
    /// Nothing waits and nothing is out.
    var isIdle: Bool { flying.isEmpty && waiting.isEmpty }
    /// Questions that are out.
    var out: Int { flying.count }

    /// Somebody asks.
    package mutating func add(_ id: UInt64, _ name: String, at now: Instant) {
        waiting[id] = Question(name: name, since: now)
        if let until = slowNames[name], now < until {
            slow.append(id)
        } else if goodNames[name] != nil {
            good.append(id)
        } else if let until = waitedNames[name], now < until {
            again.append(id)
        } else {
            fresh.append(id)
        }
    }

    /// The next one to ask, which is out from now on; nil: nobody yet.
    package mutating func next(at now: Instant) -> UInt64? {
        age(at: now)
        guard flying.count - stuck < max(1, limit / 4) else { return nil }
        while let id = good.first, waiting[id] == nil { good.removeFirst() }
        while let id = fresh.last, waiting[id] == nil { fresh.removeLast() }
        while let id = again.first, waiting[id] == nil { again.removeFirst() }
        while let id = slow.first, waiting[id] == nil { slow.removeFirst() }
        let taken = flying.count + abandoned.count
        if let id = good.first, let question = waiting[id], taken < limit || maySqueezeIn {
            good.removeFirst()
            return launch(id, question, at: now)
        }
        if let id = fresh.last, let question = waiting[id], mayLaunch(question, at: now) {
            fresh.removeLast()
            return launch(id, question, at: now)
        }
        if let id = again.first, let question = waiting[id], taken < limit - limit / 4 {
            again.removeFirst()
            return launch(id, question, at: now)
        }
        guard let id = slow.first, let question = waiting[id], taken < max(1, limit / 2) else { return nil }
        slow.removeFirst()
        return launch(id, question, at: now)
    }

    /// The last quarter of the places is for newcomers, a few at a time: good ones give theirs back in milliseconds.
    private func mayLaunch(_ question: Question, at now: Instant) -> Bool {
        let taken = flying.count + abandoned.count
        if taken < limit - limit / 4 { return true }
        guard now - question.since < Self.newcomer else { return false }
        return taken < limit && flying.count - stuck < max(1, limit / 40) || maySqueezeIn
    }

    /// When every place is taken, one goes out at a time: who answers does so at once, and who does not is four in a second.
    private var maySqueezeIn: Bool { flying.count < limit + limit / 8 && flying.count - stuck < 1 }

    /// A question has its answer, or nobody wants it any more.
    package mutating func end(_ id: UInt64) { _ = remove(id) }

    /// A question has its answer, for better or worse.
    package mutating func answered(_ id: UInt64, at now: Instant) {
        guard let question = remove(id) else { return }
        guard now - (question.launched ?? question.since) < Self.slowness else { return remember(question.name, now) }
        slowNames[question.name] = nil
        waitedNames[question.name] = nil
        goodNames[question.name] = true
    }

    /// Nobody waits for the answer any more; the resolver may go on with the question.
    ///
    /// - Parameter isResolverAlive: others were answered meanwhile.
    package mutating func cancelled(_ id: UInt64, isResolverAlive: Bool, at now: Instant) {
        guard let question = remove(id) else { return }
        waited(question.name, now)
        guard let launched = question.launched else { return }
        if isResolverAlive, now - launched >= Self.slowness / 2 { remember(question.name, now) }
        // Nobody can tell a resolver that is away from one that was only asked for dead names: it may have them all.
        if now - launched >= soon { abandoned.append(now + held) }
    }

    private mutating func waited(_ name: String, _ now: Instant) {
        waitedNames[name] = now + held
    }

    /// A question was given up.
    ///
    /// - Parameter isResolverAlive: others were answered meanwhile, so it is the name that is slow.
    package mutating func gaveUp(_ id: UInt64, isResolverAlive: Bool, at now: Instant) {
        // One that only waited here says nothing of its name.
        guard let question = remove(id), isResolverAlive else { return }
        guard question.launched != nil else { return waited(question.name, now) }
        remember(question.name, now)
        abandoned.append(now + held)
    }

    /// Names get another chance.
    mutating func forget() {
        slowNames.removeAll()
        waitedNames.removeAll()
    }

    private mutating func launch(_ id: UInt64, _ question: Question, at now: Instant) -> UInt64 {
        waiting[id] = nil
        flying[id] = question
        flying[id]?.launched = now
        launches.append((id, now))
        return id
    }

    private mutating func remove(_ id: UInt64) -> Question? {
        if let question = flying.removeValue(forKey: id) {
            if question.isStuck { stuck -= 1 }
            return question
        }
        return waiting.removeValue(forKey: id)
    }

    private mutating func remember(_ name: String, _ now: Instant) {
        slowNames[name] = now + Self.memory
        goodNames.removeValue(forKey: name)
    }

    private mutating func age(at now: Instant) {
        while let launch = launches.first, now - launch.at >= soon {
            launches.removeFirst()
            if flying[launch.id] != nil {
                flying[launch.id]?.isStuck = true
                stuck += 1
            }
        }
        while let end = abandoned.first, end <= now { abandoned.removeFirst() }
    }
}

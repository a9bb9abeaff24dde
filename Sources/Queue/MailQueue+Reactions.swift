// MailQueue+Reactions.swift — replies of next hops are counted by the reactions of `limits.ini`; where there are enough, what they
// speak of is slowed or paused, or the mail that was answered is treated otherwise. A pause of a person stays as it is.

import History
package import Mail
import NIOPosix
import Synchronization

/// What replies come to.
struct Reactor: Sendable {
    /// Scopes and reactions that are remembered at most.
    private static let mostTallies = 10_000

    /// A reaction whose time has come.
    struct Due: Hashable {
        let reaction: Reaction
        let scope: LimitScope
        let said: String

        /// The pause that it makes.
        func pause(at wall: Timestamp) -> Pause {
            let time: Int64?
            switch reaction.deed {
            case .pause(let its): time = its
            case .parkSender(let its): time = its
            case .slow, .connections, .otherSource, .bounce, .delay: time = 0
            }
            return Pause(
                scope,
                since: wall,
                until: time.map { wall.adding(milliseconds: $0) },
                reason: "\(reaction.origin): \(said)",
                by: "reaction \(reaction.name)"
            )
        }
    }

    private struct Key: Hashable {
        let reaction: String
        let scope: LimitScope
    }

    private(set) var reactions: [Reaction] = []
    private var tallies = Bounded<Key, ReplyTally>(atLeast: mostTallies)
    /// The words for a kind of reply.
    var kinds: @Sendable (Failure) -> [String] = { [FailureReason($0).name] }

    mutating func set(_ new: [Reaction]) {
        guard new != reactions else { return }
        reactions = new
        tallies.removeAll()
    }

    /// A reply came.
    ///
    /// - Parameters:
    ///   - provider: the one behind the lane.
    ///   - parties: whose mail it was.
    /// - Returns: the reactions that are due.
    mutating func hear(
        _ failure: Failure,
        from lane: Lane,
        provider: String? = nil,
        _ parties: MailParties = MailParties(),
        at now: Uptime
    ) -> [Due] {
        let words = kinds(failure)
        var due: [Due] = []
        for reaction in reactions where reaction.when.contains(where: { $0.fits(failure.reply, kinds: words) }) {
            var scope = reaction.scope(of: failure.reply, kinds: words, from: lane, provider: provider, parties)
            if case .parkSender = reaction.deed {
                // Nobody to park: a report, or nobody knows.
                guard let sender = parties.sender else { continue }
                scope = .sender(sender)
            }
            guard tallies[Key(reaction: reaction.name, scope: scope), default: ReplyTally()].add(reaction, at: now)
            else {
                continue
            }
            due.append(Due(reaction: reaction, scope: scope, said: "\(failure.reply)"))
        }
        return due
    }
}

/// What reactions make of the answers to one attempt.
package struct Reacted: Sendable {
    /// Outcomes, where some are others than they were.
    package var outcomes: [Outcome?]
    /// Milliseconds before which what was deferred is not tried again.
    package var delay: Int64 = 0
    /// The reaction that says so.
    package var rule: WaitRule?
}

extension MailQueue {
    /// Says which words a reply's classifiers have for it, beside the reasons of this house.
    package func setKinds(_ kinds: @escaping @Sendable (Failure) -> [String]) {
        reactor.withLock { $0.kinds = { kinds($0) + [FailureReason($0).name] } }
    }

    /// What a lane answered to a transaction, or to an opening.
    ///
    /// - Parameter envelope: of the mail; nil for an opening.
    /// - Returns: the outcomes as reactions want them; nil: as they are.
    @discardableResult
    package func heard(
        _ outcomes: [Outcome?],
        from lane: Lane,
        of envelope: Envelope? = nil,
        at now: Uptime
    ) -> Reacted? {
        guard reacts.load(ordering: .relaxed), !lane.isPreparation, outcomes.contains(where: { $0?.failure != nil })
        else {
            return nil
        }
        let provider = state.withLock { $0.scheduler.provider(of: lane) }
        let parties = envelope.map(MailParties.init) ?? MailParties()
        let heard: [Reply: [Reactor.Due]] = reactor.withLock { reactor in
            var heard: [Reply: [Reactor.Due]] = [:]
            for failure in outcomes.compactMap({ $0?.failure }) where heard[failure.reply] == nil {
                // One reply to many recipients is one.
                heard[failure.reply] = reactor.hear(failure, from: lane, provider: provider, parties, at: now)
            }
            return heard
        }
        let due = heard.values.joined()
        guard !due.isEmpty else { return nil }
        for one in due where !one.reaction.deed.isOfAnswer { act(on: one, from: lane, at: now) }
        return answered(outcomes, heard)
    }

    private func act(on due: Reactor.Due, from lane: Lane, at now: Uptime) {
        ReactionMetrics.count(due.reaction.deed)
        switch due.reaction.deed {
        case .slow, .connections, .otherSource:
            let (slowing, goesOn) = state.withLock { state in
                let slowing = state.scheduler.slow(due.reaction, due.scope, from: lane, said: due.said, at: now)
                return (slowing, state.scheduler.hasOtherSource(lane, at: now))
            }
            if let slowing { disk.submit { [self] _ in tell(slowing, goesOn: goesOn) } }
            if slowing?.kind == .otherSource { wakeDispatcher() }
        case .pause, .parkSender: pause(due)
        case .bounce, .delay: break
        }
    }

    private func pause(_ due: Reactor.Due) {
        let pause = due.pause(at: .now())
        disk.submit { [self] _ in
            guard !pauses.contains(where: { $0.scope == pause.scope }) else { return }
            _ = self.pause(pause)
        }
    }

    /// What becomes of mail that was answered so.
    private func answered(_ outcomes: [Outcome?], _ heard: [Reply: [Reactor.Due]]) -> Reacted? {
        guard heard.values.joined().contains(where: { $0.reaction.deed.isOfAnswer }) else { return nil }
        var reacted = Reacted(outcomes: outcomes)
        for (index, outcome) in outcomes.enumerated() {
            guard case .deferred(let failure)? = outcome else { continue }
            for due in heard[failure.reply] ?? [] {
                switch due.reaction.deed {
                case .bounce:
                    ReactionMetrics.count(due.reaction.deed)
                    reacted.outcomes[index] = .bounced(failure.final(by: due.reaction))
                case .delay(let time):
                    ReactionMetrics.count(due.reaction.deed)
                    guard time > reacted.delay else { continue }
                    reacted.delay = time
                    reacted.rule = WaitRule("reaction \(due.reaction.name)", in: due.reaction.origin)
                case .slow, .connections, .otherSource, .pause, .parkSender: break
                }
            }
        }
        return reacted
    }

    // MARK: what is held down

    /// What reactions hold down, the oldest first.
    package var slowings: [Slowing] {
        state.withLock { Array($0.scheduler.slowings.values) }
            .sorted { ($0.since, $0.scope.description) < ($1.since, $1.scope.description) }
    }

    /// Lets a scope go as fast as it went before.
    ///
    /// - Parameter actor: who wants it.
    /// - Returns: false when nothing held it down.
    package func endSlowing(_ scope: LimitScope, by actor: String, at now: Uptime = .now()) -> Bool {
        guard let slowing = state.withLock({ $0.scheduler.endSlowing(scope, at: now) }) else { return false }
        wakeDispatcher()
        tell(recovered: slowing, by: actor)
        return true
    }

    /// Once a second: steps, what is over, and the file.
    ///
    /// Blocks.
    func keepSlowings(at now: Uptime) {
        let (ended, slowings) = state.withLock { state -> ([Slowing], [Slowing]) in
            guard !state.scheduler.slowings.isEmpty || state.scheduler.book.isUnbound || state.scheduler.hasStuck
            else { return ([], []) }
            return (state.scheduler.recover(at: now), Array(state.scheduler.slowings.values))
        }
        for slowing in ended { tell(recovered: slowing, by: nil) }
        if !ended.isEmpty || !slowings.isEmpty { wakeDispatcher() }
        ReactionMetrics.show(slowed: slowings.count, unwell: state.withLock { $0.scheduler.unwellCount })
        guard let limitFiles else { return }
        limitUpkeep.withLock { upkeep in
            let sorted = slowings.sorted { $0.scope.description < $1.scope.description }
            guard upkeep.slowings != sorted else { return }
            // What cannot be written is written a second later.
            if (try? limitFiles.save(sorted)) != nil { upkeep.slowings = sorted }
        }
    }

    /// - Parameter goesOn: mail of the lane that answered leaves from another address.
    private func tell(_ slowing: Slowing, goesOn: Bool) {
        var fact = CommandFact(.destinationSlowed, at: .now())
        (fact.actor, fact.subject) = ("reaction \(slowing.reaction)", slowing.scope.description)
        let rest = goesOn ? "mail leaves from another address" : "no other address takes its mail, which waits"
        let words = slowing.kind == .otherSource ? "; \(rest)" : ""
        fact.text = "\(slowing.kind.rawValue) \(slowing.text) (\(slowing.origin))\(words): \(slowing.said)"
        tell(fact)
    }

    private func tell(recovered slowing: Slowing, by actor: String?) {
        var fact = CommandFact(.destinationRecovered, at: .now())
        (fact.actor, fact.subject) = (actor, slowing.scope.description)
        let end = slowing.kind == .otherSource ? "is over" : "\(slowing.baseText) again"
        fact.text = "\(slowing.kind.rawValue) \(end) (\(slowing.origin))"
        tell(fact)
    }
}

extension Scheduler {
    /// The provider behind a lane, as far as its hosts are known.
    func provider(of lane: Lane) -> String? {
        guard let number = laneIndex[lane] else { return nil }
        return book.rules.provider(of: lanes[number].hosts)
    }
}

extension Failure {
    /// The same, for good, because a reaction says so.
    fileprivate func final(by reaction: Reaction) -> Failure {
        let words = Reply(
            // With the code of a final answer, or it would be taken for one that may be tried elsewhere.
            500 + reply.code % 100,
            reply.status.flatMap { EnhancedStatus(5, $0.subject, $0.detail) },
            lines: reply.lines + ["(not tried again: reaction \(reaction.name), \(reaction.origin))"]
        )
        var failure = Failure(scope, at: stage, words, remote: remote, mayBeDuplicate: mayBeDuplicate)
        failure.reaction = "reaction \(reaction.name), \(reaction.origin): \(reply)"
        return failure
    }
}

// MailQueue+Reactions.swift — replies of next hops are counted by the reactions of `limits.ini`; where there are enough, the lane
// pauses for a while. A pause of a person stays as it is.

package import Mail
import NIOPosix
import Synchronization

/// What replies come to.
struct Reactor: Sendable {
    /// Lanes and reactions that are remembered at most.
    private static let mostTallies = 10_000

    private struct Key: Hashable {
        let reaction: String
        let lane: String
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
    /// - Returns: the reaction that is due; the longest pause of several.
    mutating func hear(_ failure: Failure, from lane: String, at now: Uptime) -> Reaction? {
        let words = kinds(failure)
        var due: Reaction?
        for reaction in reactions where reaction.when.contains(where: { $0.fits(failure.reply, kinds: words) }) {
            let key = Key(reaction: reaction.name, lane: lane)
            if tallies[key, default: ReplyTally()].add(reaction, at: now), reaction.pause > due?.pause ?? 0 {
                due = reaction
            }
        }
        return due
    }
}

extension MailQueue {
    /// Says which words a reply's classifiers have for it, beside the reasons of this house.
    package func setKinds(_ kinds: @escaping @Sendable (Failure) -> [String]) {
        reactor.withLock { $0.kinds = { kinds($0) + [FailureReason($0).name] } }
    }

    /// What a lane answered to a transaction, or to an opening.
    package func heard(_ outcomes: [Outcome?], from lane: Lane, at now: Uptime) {
        guard reacts.load(ordering: .relaxed) else { return }
        let due: (reaction: Reaction, reply: Reply)? = reactor.withLock { reactor in
            var seen: Set<Reply> = []
            var due: (Reaction, Reply)?
            for outcome in outcomes {
                let failure: Failure
                switch outcome {
                case .deferred(let one)?, .bounced(let one)?: failure = one
                case .delivered?, nil: continue
                }
                // One reply to many recipients is one.
                guard seen.insert(failure.reply).inserted else { continue }
                if let found = reactor.hear(failure, from: lane.name, at: now) { due = (found, failure.reply) }
            }
            return due
        }
        guard let due, !lane.isPreparation else { return }
        let wall = Timestamp.now()
        let pause = Pause(
            .lane(lane.name),
            since: wall,
            until: wall.adding(milliseconds: due.reaction.pause),
            reason: "\(due.reaction.origin): \(due.reply)",
            by: "reaction \(due.reaction.name)"
        )
        disk.submit { [self] _ in
            guard !pauses.contains(where: { $0.scope == pause.scope }) else { return }
            _ = self.pause(pause)
        }
    }
}

// Routes+Decision.swift — which section decides about a mail, and why the others that fit do not: what `explain` says.

package import Mail

extension Routes {
    /// One question to the table.
    package struct Step: Hashable, Sendable {
        /// The section that was looked for.
        package let match: String
        package let isMatch: Bool
    }

    /// Why a section decides.
    package enum Cause: String, Hashable, Sendable {
        /// It is about the recipient.
        case recipient
        /// It is about the recipient, and about the sender too.
        case pair = "sender_to_recipient"
        /// It is about the sender, and no section is about the recipient.
        case sender
        /// `*`: none is about either.
        case everything = "everything_else"
    }

    /// Why a section that fits does not decide.
    package enum Loss: String, Hashable, Sendable {
        /// The one that decides is about a narrower circle of recipients.
        case recipient = "recipient_less_specific"
        /// The one that decides is about the same recipients, and about a narrower circle of senders.
        case sender = "sender_less_specific"
        /// The one that decides is about the recipient, which comes before what is about the sender.
        case order = "recipient_before_sender"
        /// `*` comes last.
        case last = "everything_else"
    }

    /// A section that fits, and another decides.
    package struct Loser: Hashable, Sendable {
        package let match: String
        package let because: Loss
    }

    /// What the table says of a mail.
    package struct Decision: Hashable, Sendable {
        /// nil: the DNS decides.
        package let route: Entry?
        package let because: Cause?
        /// Every section that was looked for, in order, up to the one that was found.
        package let asked: [Step]
        /// In the order in which they would have been asked.
        package let lost: [Loser]
    }

    /// Decides as ``route(for:from:)`` does, and says how.
    package func decision(for recipient: EmailAddress, from sender: ReversePath) -> Decision {
        var winner: (name: RouteName, route: Entry)?
        var asked: [Step] = []
        var lost: [Loser] = []
        walk(recipient, sender, everything: true) { name, route in
            if let winner {
                if route != nil { lost.append(Loser(match: "\(name)", because: Loss(of: name, to: winner.name))) }
            } else {
                asked.append(Step(match: "\(name)", isMatch: route != nil))
                if let route { winner = (name, route) }
            }
            return true
        }
        return Decision(route: winner?.route, because: winner.map { Cause($0.name) }, asked: asked, lost: lost)
    }
}

extension Routes.Cause {
    fileprivate init(_ name: RouteName) {
        self =
            switch name {
            case .recipient(.any): .everything
            case .recipient: .recipient
            case .pair: .pair
            case .sender: .sender
            }
    }
}

extension Routes.Loss {
    /// - Parameter winner: was asked before the loser.
    fileprivate init(of loser: RouteName, to winner: RouteName) {
        self =
            switch (loser, winner) {
            case (.recipient(.any), _): .last
            case (.sender, .sender): .sender
            case (.sender, _): .order
            case (.recipient, _), (.pair, _):
                loser.recipientPattern == winner.recipientPattern ? .sender : .recipient
            }
    }
}

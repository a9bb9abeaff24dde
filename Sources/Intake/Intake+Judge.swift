// Intake+Judge.swift — recipients whose mail a section of the route table rejects: who hands it in hears so at once.

package import Config
import Hooks
import Loop
package import Mail
import Queue
import SMTP
package import Suppression

extension Intake {
    /// Says of a recipient, and of the sender, why no mail is taken.
    ///
    /// A plugin that serves `get_mx` comes before the table and has its say later: then nobody is turned away here, and what
    /// it leaves to the table bounces.
    ///
    /// - Parameter way: how the mail comes in: what is judged are the addresses that `rewrite.ini` makes of those said.
    /// - Returns: nil when no section rejects.
    package func judge(
        _ settings: Settings,
        for way: WayIn
    ) -> (@Sendable (EmailAddress, ReversePath) -> Reply?)? {
        let (routes, plugins, list) = (settings.routes, plugins, suppressions)
        let holdsBack = knowsSuppressions && settings.suppressions.check == .refuse
        let srs = settings.rewriting.srs
        let returnPaths = settings.rewriting.returnPaths
        guard routes.rejects || holdsBack || srs != nil || returnPaths != nil else { return nil }
        let suppressions = settings.suppressions
        let rewriter = settings.rewriting.rewriter(for: way, settings.listener)
        return { recipient, sender in
            if let kind = returnPaths?.returned(recipient, at: .now()), kind != .other {
                return kind == .refused ? Self.forged : nil
            }
            if let srs, srs.returned(recipient, at: .now()) == .refused { return Self.forged }
            let recipient = rewriter?.rewritten(recipient, .recipients) ?? recipient
            let sender = rewriter?.rewritten(sender) ?? sender
            if routes.rejects, !plugins.asks(.getMX), let refusal = routes.refusal(of: recipient, from: sender) {
                return refusal
            }
            guard holdsBack, !suppressions.passes(sender) else { return nil }
            return list?.reason(for: recipient, from: sender, at: .now()).map(Self.suppressed)
        }
    }

    /// Says of an address whether anybody may write there; nil: there is none.
    package func openAddresses(_ settings: Settings) -> (@Sendable (EmailAddress) -> Bool)? {
        guard let returnPaths = settings.rewriting.returnPaths else { return nil }
        return { returnPaths.returned($0, at: .now()) != .other }
    }

    /// What is said of a sender of ours, or of forwarded mail, that we did not make, or too long ago.
    private static let forged = Reply(550, EnhancedStatus(5, 1, 1), "no such address here, or not any more")

    /// What is said of an address that gets nothing.
    package static func suppressed(_ reason: Suppression.Reason) -> Reply {
        let why =
            switch reason {
            case .hardBounce: "mail to it bounced"
            case .complaint: "its owner complained"
            case .unsubscribe: "its owner does not want mail"
            case .manual: "an administrator put it there"
            }
        return Reply(550, EnhancedStatus(5, 7, 1), "the address is on the list of those that get nothing: \(why)")
    }

    /// A complete message of which nothing would be left: every recipient is on the list for mail of this tag.
    ///
    /// RCPT comes before the header, so the tag is not known there. Where others are left the message is taken, and those that get
    /// nothing are taken out of it before it is offered to anybody.
    func refusal(ofTagged envelope: Envelope, _ provenance: Provenance) -> Refusal? {
        guard let list = suppressions, list.asksTag, let tag = envelope.notes.tag, provenance.entrance != .inside else {
            return nil
        }
        let suppressions = settings.current.suppressions
        guard suppressions.check == .refuse, !suppressions.passes(envelope.sender) else { return nil }
        var first: Suppression.Reason?
        for recipient in envelope.recipients {
            guard let reason = list.reason(for: recipient.address, from: envelope.sender, tag: tag, at: .now()) else {
                return nil
            }
            first = first ?? reason
        }
        return first.map { Refusal(byRoute: Self.suppressed($0)) }
    }

    /// The first recipient of a whole message whose mail is rejected; reports of ours are never asked about.
    func refusal(of submission: Submission) -> Refusal? {
        guard submission.provenance.entrance == .api,
            let judge = judge(settings.current, for: submission.way)
        else { return nil }
        for recipient in submission.envelope.recipients {
            guard let reply = judge(recipient.address, submission.envelope.sender) else { continue }
            let words = reply.lines.joined(separator: " ")
            return Refusal(byRoute: Reply(reply.code, reply.status, "\(recipient.address): \(words)"))
        }
        return nil
    }
}

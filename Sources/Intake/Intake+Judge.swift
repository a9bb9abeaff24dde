// Intake+Judge.swift — recipients whose mail a section of the route table rejects: who hands it in hears so at once.

package import Config
import Hooks
import Loop
package import Mail
import Queue
import SMTP

extension Intake {
    /// Says of a recipient, and of the sender, why no mail is taken.
    ///
    /// A plugin that serves `get_mx` comes before the table and has its say later: then nobody is turned away here, and what
    /// it leaves to the table bounces.
    ///
    /// - Returns: nil when no section rejects.
    package func judge(_ settings: Settings) -> (@Sendable (EmailAddress, ReversePath) -> Reply?)? {
        guard settings.routes.rejects else { return nil }
        let (routes, plugins) = (settings.routes, plugins)
        return { recipient, sender in
            plugins.asks(.getMX) ? nil : routes.refusal(of: recipient, from: sender)
        }
    }

    /// The first recipient of a whole message whose mail is rejected; reports of ours are never asked about.
    func refusal(of submission: Submission) -> Refusal? {
        guard submission.provenance.entrance == .api, let judge = judge(settings.current) else { return nil }
        for recipient in submission.envelope.recipients {
            guard let reply = judge(recipient.address, submission.envelope.sender) else { continue }
            let words = reply.lines.joined(separator: " ")
            return Refusal(byRoute: Reply(reply.code, reply.status, "\(recipient.address): \(words)"))
        }
        return nil
    }
}

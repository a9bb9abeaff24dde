// Reception+Staging.swift — mail of systems that try things out: after filters and plugins have had their say, it goes to one address
// of the operator's instead of its recipients, or to nobody.
//
// It is the last thing that changes the envelope, so nobody whom a plugin or a filter adds gets it either; archives get no copy.

import Config
import Log
import Mail
import MessageFormat
import Queue

extension Reception {
    /// Recipients that the header names.
    private static let mostNamed = 20

    /// Gives staged mail its only recipient, or ends it.
    ///
    /// - Returns: false when it has gone nowhere, which the owner was told.
    func stage(for owner: any ReceptionOwner) -> Bool {
        guard !rules.rewriting.staging.isEmpty, let draft, let pending, pending.provenance.entrance != .inside else {
            return true
        }
        var way = way
        way.login = pending.envelope.user
        let section = Staging.section(
            of: rules.rewriting.staging,
            for: way,
            from: pending.envelope.sender,
            rules.listeners
        )
        guard let section else { return true }
        switch section.target {
        case .sink:
            IntakeMetrics.count(.sunk)
            note(draft, pending, "message sunk", section)
            discard()
            owner.receptionEnded(.taken(draft.id))
            return false
        case .redirect(let address):
            IntakeMetrics.count(.redirected)
            note(draft, pending, "message redirected", section)
            let recipients = pending.envelope.recipients
            var words = recipients.prefix(Self.mostNamed).map { "\($0.address)" }.joined(separator: ", ")
            if recipients.count > Self.mostNamed { words += ", and \(recipients.count - Self.mostNamed) more" }
            if let lines = HeaderLine.make("X-Staging", "instead of \(words)") {
                self.draft?.added += Array(lines.utf8)
            }
            self.draft?.isStaged = true
            self.pending?.envelope.recipients = [Recipient(address)]
            return true
        }
    }

    private func note(_ draft: Draft, _ pending: Pending, _ message: StaticString, _ section: Staging) {
        intake.log.write(.notice, message) { line in
            line.add(.id, draft.id.description)
            line.add(.from, pending.envelope.sender.description)
            line.add(.recipients, pending.envelope.recipients.count)
            line.add(.config, section.origin)
        }
    }
}

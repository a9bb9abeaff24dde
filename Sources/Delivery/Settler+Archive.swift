// Settler+Archive.swift — a copy for an archive that is lost: nobody is to find out by chance.

import History
import Intake
import Log
import Mail
import Queue

extension Settler {
    /// Tells log, metrics and history of a copy that will never be delivered.
    func noteLostCopy(_ assignment: Assignment, _ verdicts: Verdicts) {
        guard !verdicts.bounced.isEmpty || !verdicts.dropped.isEmpty,
            let original = assignment.envelope.archivedMessage
        else { return }
        for failed in verdicts.bounced + verdicts.dropped {
            let archive = assignment.envelope.recipients[Int(failed.recipient)].address.description
            IntakeMetrics.count(.lost)
            log.write(.error, "the archive's copy is lost") { line in
                line.add(.id, assignment.parcel.id.message.description)
                line.add(.archiveOf, original)
                line.add(.to, archive)
                line.add(.reply, failed.failure.reply.description)
            }
            var fact = CommandFact(.archiveFailed, at: .now())
            fact.subject = original
            fact.text = "lost on its way to \(archive): \(failed.failure.reply)"
            queue.tell(fact)
        }
    }
}

// PrivateNames.swift — what history is told of addresses: as they are, or covered before anything is written. Pure.

import History
package import Log
import Mail

/// Covers addresses.
package struct PrivateNames: Sendable {
    private let privacy: AddressPrivacy?

    /// - Parameter privacy: nil: addresses stay as they are.
    package init(_ privacy: AddressPrivacy?) { self.privacy = privacy }

    /// An address, or a text with addresses.
    package func covered(_ text: String) -> String { privacy?.redacted(text) ?? text }

    func covered(_ facts: Facts) -> Facts {
        guard privacy != nil else { return facts }
        var covered = Facts.none
        for fact in facts.decoded {
            switch fact {
            case .time: covered = covered.followed(by: Facts(fact))
            case .attempt(var attempt):
                for index in attempt.parts.indices {
                    attempt.parts[index].words.text = self.covered(attempt.parts[index].words.text)
                }
                covered = covered.followed(by: Facts(.attempt(attempt)))
            case .report(var report):
                report.recipient = self.covered(report.recipient)
                if let text = report.words?.text { report.words?.text = self.covered(text) }
                covered = covered.followed(by: Facts(.report(report)))
            case .command(var command):
                command.text = command.text.map(self.covered)
                covered = covered.followed(by: Facts(.command(command)))
            }
        }
        return facts.mayBeThere ? covered.again : covered
    }
}

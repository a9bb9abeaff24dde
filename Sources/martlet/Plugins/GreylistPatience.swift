// GreylistPatience.swift — an example of a plugin: a server that only wants to see us again gets us back sooner.
//
// Servers that greylist refuse the first attempt and say so; the usual second delay comes too late or too early for most
// of them. On with `plugins = greylist_patience` in `hooks.ini`.

import Hooks
import Mail

/// A delay of its own for the first failures of greylisted mail.
struct GreylistPatience: Plugin {
    /// By number of failures: the document's "custom delay algorithm indexed by hmail.num_failures".
    private static let delays: [Duration] = [.seconds(60), .seconds(300), .seconds(600)]

    let name = "greylist_patience"
    let hooks: HookSet = .deferred

    func deferred(_ mail: HMail, _ notice: DeferredNotice) async -> DeferredAnswer {
        guard (1...Self.delays.count).contains(mail.failures),
            notice.recipients.allSatisfy({ isGreylisted($0.failure) })
        else { return .next }
        return .delay(Self.delays[mail.failures - 1])
    }

    private func isGreylisted(_ failure: Failure) -> Bool {
        guard failure.stage == .recipient || failure.stage == .endOfData else { return false }
        let text = failure.reply.lines.joined(separator: " ").lowercasedASCII
        return text.utf8.count < 4096
            && ["greylist", "graylist", "grey list", "gray list"].contains { text.contains(octets: $0) }
    }
}

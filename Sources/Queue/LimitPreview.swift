// LimitPreview.swift — which limits would count for waiting mail under other rules. Looks, and changes nothing.

package import Mail
import Storage
import Synchronization

/// The limits that count for a message under some rules.
package struct LimitOutlook: Hashable, Sendable {
    /// Those that apply, in words: `rate 20/m of provider google`.
    package let limits: [String]
    /// Microseconds between two messages, where a rate says so; the slowest.
    package let interval: Int64?

    /// In a line.
    package var words: String { limits.isEmpty ? "no limit" : limits.joined(separator: ", ") }
}

extension MailQueue {
    /// What counts for a waiting message under each of some rules.
    package func outlooks(of row: QueueRow, under rules: [LimitRules]) -> [LimitOutlook] {
        let hosts = state.withLock { state in row.lanes.map { state.scheduler.knownHosts(of: $0) } }
        return rules.map { $0.outlook(of: row, zip(row.lanes, hosts)) }
    }
}

extension Scheduler {
    /// Where a lane leads, as far as that was looked up.
    func knownHosts(of lane: Lane) -> [String] { laneIndex[lane].map { lanes[$0].hosts } ?? [] }
}

extension LimitRules {
    fileprivate func outlook(of row: QueueRow, _ lanes: some Sequence<(Lane, [String])>) -> LimitOutlook {
        var limits: [String] = []
        var interval: Int64?
        for (lane, hosts) in lanes where !lane.isPreparation {
            var scopes = [.all] + lane.scopes
            if let provider = provider(of: hosts) { scopes.append(.provider(provider)) }
            scopes += LimitScope.scopes(ofMailFrom: row.sender, user: row.user, tag: row.tag, in: lane)
            if !lane.hasOneDomain { scopes += Set(row.recipients.map { LimitScope.domain($0.domain.name) }) }
            var found: [LimitInForce] = []
            for scope in scopes {
                guard let terms = terms(for: scope) else { continue }
                found += LimitTerms.Key.allCases.compactMap { LimitInForce($0, of: terms, in: scope) }
            }
            found.choose()
            for limit in found where limit.applies {
                let words = "\(limit.key.rawValue) \(limit.text) of \(limit.scope)"
                if !limits.contains(words) { limits.append(words) }
                guard limit.key == .rate, let own = terms(for: limit.scope)?.rate?.interval else { continue }
                interval = max(interval ?? 0, own)
            }
        }
        return LimitOutlook(limits: limits.sorted(), interval: interval)
    }
}

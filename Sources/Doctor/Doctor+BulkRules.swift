// Doctor+BulkRules.swift — what the large providers ask of whoever sends much (``BulkRule``), as an examination tells it. The name of our
// address is examined with the names.

import DNS
import Departure
import Mail

extension Doctor {
    static func bulkRules(_ patient: Patient, _ resolver: any Resolver, at now: Timestamp) async -> [Finding] {
        guard let sender = Domain(patient.sender) else { return [] }
        return await BulkRule.all(of: sender, patient.settings, resolver, at: now).map(Finding.init)
    }
}

extension Finding {
    fileprivate init(_ rule: BulkRule) {
        let state: State =
            switch rule.state {
            case .good: .good
            case .bad: .bad
            case .odd: .odd
            case .skipped: .skipped
            }
        self.init(state, rule.name, rule.detail, rule.remedy)
    }
}

// Doctor+BulkRules.swift — what the large providers ask of whoever sends much (``BulkRules``), as an examination tells it. The name of our
// address is examined with the names.

import DNS
import Departure
import Mail

extension Doctor {
    static func bulkRules(_ patient: Patient, _ resolver: any Resolver, at now: Timestamp) async -> [Finding] {
        guard let sender = Domain(patient.sender) else { return [] }
        return await BulkRules.all(of: sender, patient.settings, resolver, at: now)
    }
}

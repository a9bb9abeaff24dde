// Doctor+Renewal.swift — what keeps the relay from renewing its certificate.

import ACME
import Config
import Departure
import Files
import Glibc

extension Doctor {
    /// Why the last attempt brought no certificate; nil: it did, or none is asked for.
    static func renewalTrouble(_ patient: Patient) -> Finding? {
        guard patient.settings.tls.acme.directory != nil else { return nil }
        let path = "\(patient.dataPath)/\(ACMEState.file)"
        if let bytes = try? LinuxDisk().contents(of: path, limit: 1 << 20), let trouble = ACMEState(bytes).trouble {
            return Finding(
                .bad,
                "certificate",
                "it is not renewed: \(trouble)",
                "Mend that and run `martlet acme now`; see acme_… in tls.ini."
            )
        }
        guard access(patient.configPath, W_OK) != 0 else { return nil }
        return Finding(
            .odd,
            "certificate",
            "this user may not write \(patient.configPath), where a renewed certificate goes",
            "Run doctor as the user that runs the relay; if it may not either, let it."
        )
    }
}

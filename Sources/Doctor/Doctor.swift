// Doctor.swift — what keeps mail from leaving or arriving, each with its remedy.
//
// It changes nothing and sends no mail. Each examination is a function of its own that returns findings; the files
// `Doctor+….swift` hold them by topic.

package import Config
package import DNS
package import Departure
package import Mail

/// The examinations.
package enum Doctor {
    /// Goes to a next hop as a delivery would, and leaves before the first MAIL; nil: nobody goes.
    package typealias Visit = @Sendable (MX) async -> Result<Impression, Failure>?

    /// All of them but the configuration, which comes first.
    ///
    /// - Parameters:
    ///   - patient: whom to examine.
    ///   - resolver: as the relay's own, or why there is none.
    ///   - visit: as the relay's deliveries would go.
    package static func examine(
        _ patient: Patient,
        _ resolver: Result<any Resolver, DNSError>,
        _ visit: Visit
    ) async -> [Finding] {
        var findings = relaying(patient) + spool(patient) + certificate(patient) + clock() + milters(patient)
        findings += database(patient)
        switch resolver {
        case .failure(let error):
            findings.append(
                Finding(.bad, "resolver", "\(error)", "See forward and trust_anchor_file in resolver.ini.")
            )
        case .success(let resolver):
            findings += await names(patient, resolver)
            findings += await network(patient, resolver)
            findings += await smartHosts(patient, visit)
        }
        return findings
    }

    /// The files were read: what looks odd, and what the environment decides.
    package static func configuration(_ store: SettingsStore, _ directory: String) -> [Finding] {
        let odd = store.warnings.map { Finding(.odd, "configuration", "\($0)", "See the comment beside that key.") }
        let pins = Set(store.environment.pins.map(\.variable)).sorted()
        let pinned = pins.isEmpty ? "" : "; \(pins.joined(separator: ", ")) win over it"
        let good = Finding(.good, "configuration", "\(directory) is valid\(pinned)")
        return [good] + odd
    }
}

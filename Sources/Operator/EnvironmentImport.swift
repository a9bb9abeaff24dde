// EnvironmentImport.swift — the variables of a container into files: what they mean is for `Config/Environment` to say.

package import Config
import Mail

/// The translation of variables.
package enum EnvironmentImport {
    /// Translates what an environment came to.
    ///
    /// - Parameter secret: the value of a variable that holds a secret.
    package static func draft(_ environment: Environment, secret: (String) -> String?) -> ImportDraft {
        var draft = ImportDraft()
        for pin in environment.pins {
            let place = ImportDraft.Place("environment", nil, pin.variable)
            if pin.key.isEmpty {
                draft.add("", pin.value, of: pin.file, from: place)
                continue
            }
            var value = pin.value
            if case .variable(let name) = SecretReference(value) {
                guard let password = secret(name) else {
                    draft.leaveOut(place, "it cannot be read")
                    continue
                }
                value = draft.keep(secret: password, as: "smarthost")
            }
            if pin.key.isSame(octets: "mx") {
                for host in value.split(octet: ",").map(\.trimmed) {
                    draft.add("mx", String(host), in: pin.section, of: pin.file, from: place)
                }
            } else {
                draft.set(pin.key, value, in: pin.section, of: pin.file, from: place)
            }
        }
        for note in environment.notes where note.contains(octets: "ignored") {
            draft.leaveOut(ImportDraft.Place("environment", nil, String(note.words.first ?? "")), note)
        }
        // Loopback may relay beside the networks of a variable.
        if environment.pins.contains(where: { $0.file.isSame(octets: "relay_acl_allow") }) {
            let place = ImportDraft.Place("environment", nil, "loopback")
            for network in ["127.0.0.0/8", "::1"] { draft.add("", network, of: "relay_acl_allow", from: place) }
        }
        draft.fill(
            "enable_tls",
            "true",
            of: OutboundSettings.file,
            from: ImportDraft.Place("environment", nil, "TLS"),
            guess: "as the shipped configuration has it"
        )
        draft.fill(
            "listen",
            "0.0.0.0:2525, [::]:2525",
            of: ListenerSettings.file,
            from: ImportDraft.Place("environment", nil, "listen"),
            guess: "as our image does"
        )
        return draft
    }
}

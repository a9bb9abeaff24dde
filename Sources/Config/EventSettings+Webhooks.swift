// EventSettings+Webhooks.swift — the receivers in `events.ini`, beside its keys: read with the secrets that they name.

import Mail

extension EventSettings {
    package static let ownKeys = WebhookSettings.keys
    /// A URL may hold a token.
    package static let openKeys = WebhookSettings.keys.filter { !["url", "secret", "secret_previous"].contains($0) }
    package static func owns(_ section: String) -> Bool { WebhookSettings.owns(section) }

    /// Receivers are read apart, with the secrets that they name.
    package mutating func take(_ entry: INIDocument.Entry) -> Bool { entry.section.map(WebhookSettings.owns) ?? false }
}

extension SettingsReader {
    /// `events.ini`, and the secrets that it names.
    func readEvents(_ finding: inout ConfigFinding) throws(ConfigErrors) -> EventSettings {
        guard let document = try document(EventSettings.file) else { return EventSettings() }
        var events = try EventSettings.read(document, warnings: &finding.warnings)
        var surroundings = Surroundings(source, environment: environment)
        defer { finding.referenced = surroundings.files }
        events.webhooks = try WebhookSettings.read(document, of: EventSettings.file, in: &surroundings)
        if !events.isOn, events.webhooks.endpoints.contains(where: \.isEnabled) {
            let reason = "history is off, so there are no events and webhooks send nothing; write history = true"
            finding.warnings.append(ConfigError(file: EventSettings.file, reason: reason))
        }
        if surroundings.hasSecrets { try guardSecret(EventSettings.file) }
        return events
    }
}

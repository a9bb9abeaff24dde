// Patient.swift — what is examined.

package import Config

/// A relay, as its configuration has it.
package struct Patient: Sendable {
    package let settings: Settings
    package let dataPath: String
    package let configPath: String
    /// The domain that mail is sent from.
    package let sender: String
    /// The host whose ports are tried; `none` tries none.
    package let probe: String

    package init(settings: Settings, dataPath: String, configPath: String, sender: String, probe: String) {
        self.settings = settings
        self.dataPath = dataPath
        self.configPath = configPath
        self.sender = sender
        self.probe = probe
    }
}

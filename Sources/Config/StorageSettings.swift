// StorageSettings.swift — `storage.ini`: where accepted mail lives, in a spool of this relay's or in a database of several.

package import Mail

/// `storage.ini`.
package struct StorageSettings: Hashable, Sendable {
    /// `queue`: a connection string of libpq, or where it stands; nil: the spool in the data directory.
    package var queue: Secret?
    /// `node`: this relay's name among the others; nil: the host name of the machine.
    package var node: String?
    /// `migrate`: missing or older tables are made at the start.
    package var mayMigrate = true
    /// `commit`: seconds for which mail waits for a commit that does not come, before it is refused.
    package var commit = 20

    package init() {}
}

extension StorageSettings: KeyedSettings {
    package static let file = "storage.ini"

    package static let keys: [SettingKey<StorageSettings>] = [
        SettingKey("queue", show: { .text($0.queue == nil ? "spool" : "postgresql") }) {
            (text, target) throws(ValueError) in
            if text.isEmpty || text.lowercasedASCII.isSame(octets: "spool") {
                target.queue = nil
                return
            }
            guard isPlace(text) || SecretReference(text).isElsewhere else {
                throw ValueError("is neither spool nor postgresql://…, and no @file: or @env: that says so")
            }
            target.queue = Secret(text)
        },
        SettingKey("node", show: { $0.node.map { .text($0) } ?? .none }) { (text, target) throws(ValueError) in
            guard text.utf8.count <= 64, text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
                throw ValueError("a node's name has at most 64 letters, digits and signs, and no blanks")
            }
            target.node = text.isEmpty ? nil : text
        },
        .boolean("migrate", \.mayMigrate),
        .duration("commit", \.commit),
    ]

    package static let quietKeys: [SettingKey<StorageSettings>] = []

    /// A connection string of libpq: a URI, or keys and values.
    static func isPlace(_ text: String) -> Bool {
        text.starts(withOctets: "postgresql://") || text.starts(withOctets: "postgres://")
            || text.starts(withOctets: "host=") || text.starts(withOctets: "service=")
            || text.starts(withOctets: "dbname=")
    }

    /// Whether a connection string has a password in it.
    static func holdsPassword(_ text: String) -> Bool {
        if SecretReference(text).isElsewhere { return false }
        if text.contains(octets: "password") { return true }
        guard let start = text.utf8.firstRange(of: "://".utf8)?.upperBound else { return false }
        let authority = text.utf8[start...].prefix { $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "?") }
        guard let end = authority.lastIndex(of: UInt8(ascii: "@")) else { return false }
        return authority[..<end].contains(UInt8(ascii: ":"))
    }

    /// The value of `queue` as it may be shown.
    static func shown(_ text: String) -> String {
        !holdsPassword(text) ? ValueParsing.shown(text) : Redaction.secret
    }
}

extension SettingsReader {
    /// `storage.ini`, and the connection string that it names.
    func readStorage(_ finding: inout ConfigFinding) throws(ConfigErrors) -> StorageSettings {
        var storage = try keyed(StorageSettings.self, &finding.warnings)
        guard let queue = storage.queue else { return storage }
        var surroundings = Surroundings(source, environment: environment)
        defer { finding.referenced = surroundings.files }
        do throws(ValueError) {
            let place = try surroundings.secret(queue.revealed)
            guard StorageSettings.isPlace(place.revealed) else {
                throw ValueError("what it names is no postgresql://…")
            }
            storage.queue = place
        } catch {
            throw ConfigErrors([ConfigError(file: StorageSettings.file, reason: "queue: \(error.reason)")])
        }
        // What a variable says is no secret of the file.
        let written = INIDocument(parsing: try fileText(StorageSettings.file) ?? "").value("queue", in: nil)
        if let written, StorageSettings.holdsPassword(written) { try guardSecret(StorageSettings.file) }
        return storage
    }
}

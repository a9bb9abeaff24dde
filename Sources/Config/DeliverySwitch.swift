// DeliverySwitch.swift — the switch that stops delivery, and where it is kept when `outbound.ini` cannot say it.
//
// Guarantees: the switch works when the configuration is read-only or broken (G10), and holds over a restart. `outbound.ini`
// wins again as soon as it says something else about the switch than it did when the switch was kept.

package import Files

/// `disabled` and `disabled_reason` of `outbound.ini`.
package struct DeliverySwitch: Hashable, Sendable {
    /// Mail is taken and queued, and does not leave.
    package var isDisabled: Bool
    /// Why, for people; at most 200 bytes.
    package var reason: String

    package init(isDisabled: Bool, reason: String) {
        self.isDisabled = isDisabled
        self.reason = reason
    }
}

/// Where the switch stands as it does.
package enum SwitchOrigin: String, Hashable, Sendable {
    /// Nowhere: delivery is on.
    case standard = "default"
    case file
    /// A variable of the environment, which stands above the file.
    case environment
    /// The data directory, because the file could not be written; it stands above the file until that says otherwise.
    case dataDirectory = "data_directory"
    /// Neither could be written: it is lost when the relay stops.
    case memory
}

/// What `outbound.ini` says about the switch, word by word; a missing line is not the same as a default that is spelled out.
struct SwitchWords: Hashable, Sendable {
    var disabled: String?
    var reason: String?

    init(_ document: INIDocument?) {
        disabled = document?.value("disabled", in: nil)
        reason = document?.value("disabled_reason", in: nil)
    }

    /// The same words have the same name.
    var digest: String {
        func bytes(_ text: String?) -> [UInt8] { text.map { [1] + Array($0.utf8) + [0] } ?? [0] }
        return Revision(of: bytes(disabled) + bytes(reason)).digest
    }

    /// Whether they stop delivery, whatever else is wrong with the file.
    var stop: DeliverySwitch? {
        guard let disabled, (try? ValueParsing.boolean(disabled)) == true else { return nil }
        let reason = reason ?? ""
        return DeliverySwitch(isDisabled: true, reason: reason.utf8.count <= 200 ? reason : "")
    }
}

/// The switch as it is kept beside the configuration.
struct KeptSwitch: Hashable, Sendable {
    var position: DeliverySwitch
    /// What `outbound.ini` said when this was kept: it is in force as long as that still is so.
    var words: String
    /// It is on disk.
    var isDurable = true

    /// - Throws: for a reason that cannot stand in a file.
    func text() throws(ConfigError) -> String {
        var document = INIDocument(
            parsing: "; The switch of delivery, kept here because outbound.ini could not be written.\n"
        )
        try document.set("disabled", to: position.isDisabled ? "true" : "false", in: nil)
        if !position.reason.isEmpty { try document.set("disabled_reason", to: position.reason, in: nil) }
        try document.set("outbound_ini", to: words, in: nil)
        return document.text
    }

    /// Reads what ``text()`` wrote; nil for anything else.
    init?(_ text: String) {
        let document = INIDocument(parsing: text)
        guard document.malformedLines.isEmpty, let disabled = document.value("disabled", in: nil),
            let isDisabled = try? ValueParsing.boolean(disabled), let words = document.value("outbound_ini", in: nil),
            words.utf8.count == 32
        else { return nil }
        let reason = document.value("disabled_reason", in: nil) ?? ""
        guard reason.utf8.count <= 200 else { return nil }
        position = DeliverySwitch(isDisabled: isDisabled, reason: reason)
        self.words = words
    }

    init(_ position: DeliverySwitch, words: String) {
        self.position = position
        self.words = words
    }
}

/// The file of the data directory that keeps the switch.
package struct SwitchFile: Sendable {
    static let name = "delivery_switch"
    private static let largest = 4096

    private let directory: String
    private let disk: any Disk

    /// - Parameter directory: the data directory.
    package init(_ directory: String, disk: any Disk) {
        self.directory = directory
        self.disk = disk
    }

    private var path: String { "\(directory)/\(Self.name)" }

    /// What is kept; nil when nothing is.
    ///
    /// A file that is there and cannot be understood keeps delivery off: somebody stopped it or let it go on, and mail
    /// that waits does less harm than mail that should not have left.
    func load(_ words: SwitchWords) -> KeptSwitch? {
        do throws(DiskError) {
            let bytes = try disk.contents(of: path, limit: Self.largest)
            if let text = String(validating: bytes, as: UTF8.self), let kept = KeptSwitch(text) { return kept }
        } catch {
            if error.isMissing { return nil }
        }
        let position = DeliverySwitch(isDisabled: true, reason: "\(Self.name) in the data directory cannot be read")
        return KeptSwitch(position, words: words.digest)
    }

    /// Keeps the switch durably.
    ///
    /// - Throws: why it is not on disk.
    func save(_ kept: KeptSwitch) throws(ConfigError) {
        let text = try kept.text()
        do throws(DiskError) {
            try disk.replace(path, with: Array(text.utf8), permissions: 0o600)
        } catch {
            throw ConfigError(file: Self.name, reason: "cannot be written: \(error)")
        }
    }

    /// Forgets what was kept.
    ///
    /// - Throws: why it is still there.
    func remove() throws(ConfigError) {
        do throws(DiskError) {
            guard try disk.status(path, following: false) != nil else { return }
            try disk.unlink(path)
            try disk.syncDirectory(directory)
        } catch {
            throw ConfigError(file: Self.name, reason: "cannot be removed: \(error)")
        }
    }
}

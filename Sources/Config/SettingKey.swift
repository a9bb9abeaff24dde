// SettingKey.swift — the keys of a typed file: one table per file, from which it is read and checked.

import Mail

/// The value of a key, typed, for those who show it otherwise than as text.
package enum SettingValue: Hashable, Sendable {
    case truth(Bool)
    /// A plain number; seconds and bytes too.
    case number(Int)
    case text(String)
    /// There is none, which means what the shipped file says.
    case none
}

/// One key of an INI file and the field it fills.
package struct SettingKey<Target: Sendable>: Sendable {
    /// nil for keys that stand before any section, or in `[main]`.
    package let section: String?
    package let name: String
    /// The value in force; nil for keys that only say something about others.
    package let show: (@Sendable (Target) -> SettingValue)?
    /// Other spellings of the name, which count where the name itself does not stand.
    package let aliases: [String]
    /// A span of time, for those who put units into names.
    package let isSeconds: Bool
    /// What to know about a key that is understood but means little here; a warning where it stands.
    let remark: String?
    private let read: @Sendable (String, inout Target) throws(ValueError) -> Void

    init(
        _ name: String,
        in section: String? = nil,
        aliases: [String] = [],
        isSeconds: Bool = false,
        remark: String? = nil,
        show: (@Sendable (Target) -> SettingValue)? = nil,
        read: @escaping @Sendable (String, inout Target) throws(ValueError) -> Void
    ) {
        self.section = section
        self.name = name
        self.aliases = aliases + (isSeconds ? ["\(name)_s"] : [])
        self.isSeconds = isSeconds
        self.remark = remark
        self.show = show
        self.read = read
    }

    /// Reads the text of a value into its field.
    ///
    /// - Throws: the reason, as a sentence without file and line.
    func apply(_ text: String, to target: inout Target) throws(ValueError) { try read(text, &target) }

    /// Whether a name means this key.
    package func isCalled(_ name: some StringProtocol) -> Bool {
        self.name.isSame(octets: name) || aliases.contains { $0.isSame(octets: name) }
    }

    typealias Field<Value> = WritableKeyPath<Target, Value> & Sendable

    static func boolean(_ name: String, in section: String? = nil, _ field: any Field<Bool>) -> SettingKey {
        SettingKey(name, in: section, show: { .truth($0[keyPath: field]) }) { (text, target) throws(ValueError) in
            target[keyPath: field] = try ValueParsing.boolean(text)
        }
    }

    static func count(
        _ name: String,
        in section: String? = nil,
        _ field: any Field<Int>,
        _ range: ClosedRange<Int>,
        aliases: [String] = []
    ) -> SettingKey {
        SettingKey(name, in: section, aliases: aliases, show: { .number($0[keyPath: field]) }) {
            (text, target) throws(ValueError) in
            target[keyPath: field] = try ValueParsing.count(text, range)
        }
    }

    /// A duration from one second to a year.
    static func duration(_ name: String, in section: String? = nil, _ field: any Field<Int>) -> SettingKey {
        SettingKey(name, in: section, isSeconds: true, show: { .number($0[keyPath: field]) }) {
            (text, target) throws(ValueError) in
            target[keyPath: field] = try ValueParsing.duration(text, 1...31_536_000)
        }
    }

    static func byteSize(
        _ name: String,
        in section: String? = nil,
        _ field: any Field<Int>,
        _ range: ClosedRange<Int>
    ) -> SettingKey {
        SettingKey(name, in: section, show: { .number($0[keyPath: field]) }) { (text, target) throws(ValueError) in
            target[keyPath: field] = try ValueParsing.byteSize(text, range)
        }
    }
}

/// A file of settings with a table of keys.
package protocol KeyedSettings: Sendable {
    /// The file's name in the configuration directory.
    static var file: String { get }
    /// Every documented key, in the order of the shipped file.
    static var keys: [SettingKey<Self>] { get }
    /// Keys that are understood but not advertised: older names, and those of features to come.
    static var quietKeys: [SettingKey<Self>] { get }
    /// Keys of sections that have a user's name, which ``take(_:)`` takes.
    static var ownKeys: [String] { get }
    /// Whether a section is one of those that have ``ownKeys``.
    static func owns(_ section: String) -> Bool
    /// Those whose values may be shown.
    static var openKeys: [String] { get }
    init()
    /// Takes a line that no table can list, such as one with a user's name for a key.
    ///
    /// - Returns: false when it is no such line.
    /// - Throws: the reason, as a sentence without file and line, and without a secret.
    mutating func take(_ entry: INIDocument.Entry) throws(ValueError) -> Bool
}

extension KeyedSettings {
    package static var ownKeys: [String] { [] }
    package static func owns(_ section: String) -> Bool { false }
    package static var openKeys: [String] { ownKeys }
    package mutating func take(_ entry: INIDocument.Entry) throws(ValueError) -> Bool { false }

    /// Whether the value of a key may be shown: it is documented, so it is no secret.
    ///
    /// - Parameter section: nil for keys that stand before any section, or in `[main]`.
    static func shows(_ key: String, _ section: String?) -> Bool {
        if section != nil, openKeys.contains(where: { $0.isSame(octets: key) }) { return true }
        return (keys + quietKeys).contains { known in
            known.isCalled(key) && (known.section ?? "").isSame(octets: section ?? "")
        }
    }

    /// What is wrong with a value, as a sentence; nil when it is right.
    package static func complaint(about text: String, for key: SettingKey<Self>) -> String? {
        var settings = Self()
        do throws(ValueError) {
            try key.apply(text, to: &settings)
            return nil
        } catch {
            return error.reason
        }
    }

    /// Reads a document: every key at most once, unknown ones become warnings.
    ///
    /// - Throws: all errors of the file, each with its line.
    package static func read(_ document: INIDocument, warnings: inout [ConfigError]) throws(ConfigErrors) -> Self {
        var settings = Self()
        var errors = document.malformedErrors(in: file, &warnings)
        var known: [String: SettingKey<Self>] = [:]
        for key in keys + quietKeys {
            for name in [key.name] + key.aliases { known[qualified(name, key.section)] = key }
        }
        var seen: [String: Int] = [:]
        let written = Set(document.entries.map { qualified($0.key, $0.section) })
        func warn(_ entry: INIDocument.Entry, _ reason: String) {
            warnings.append(ConfigError(file: file, line: entry.line, reason: reason))
        }
        for entry in document.entries {
            let name = qualified(entry.key, entry.section)
            do throws(ValueError) {
                let verdict = known[name] == nil ? ForeignKeys.verdict(entry, in: file) : nil
                switch verdict {
                case .remark(let remedy):
                    warn(entry, "\(unknown(name)), which is Haraka's: \(remedy)")
                    continue
                case .refused(let reason): throw ValueError(reason)
                case nil: if try settings.take(entry) { continue }
                }
            } catch {
                let key = ValueParsing.shown(entry.key)
                errors.append(ConfigError(file: file, line: entry.line, reason: "\(key): \(error.reason)"))
                continue
            }
            guard let key = known[name] else {
                warn(entry, unknown(name) + hint(entry))
                continue
            }
            if let remark = key.remark { warn(entry, "\(entry.key): \(remark)") }
            let canonical = qualified(key.name, key.section)
            if !name.isSame(octets: canonical), written.contains(canonical) {
                warn(entry, "\(entry.key) is another name of \(key.name), which stands here too and counts")
                continue
            }
            if let line = seen.updateValue(entry.line, forKey: canonical) {
                warn(entry, "\(entry.key) stood in line \(line) already; this one counts")
            }
            do {
                try key.apply(entry.value, to: &settings)
            } catch {
                errors.append(ConfigError(file: file, line: entry.line, reason: "\(entry.key): \(error.reason)"))
            }
        }
        guard errors.isEmpty else { throw ConfigErrors(errors.sorted { ($0.line ?? 0) < ($1.line ?? 0) }) }
        return settings
    }

    private static func qualified(_ key: String, _ section: String?) -> String {
        section == nil || section == "main" ? key : "[\(section ?? "")] \(key)"
    }

    private static func unknown(_ name: String) -> String { "unknown key \(ValueParsing.shown(name))" }

    private static func hint(_ entry: INIDocument.Entry) -> String {
        let own = entry.section.map { owns($0) } == true ? ownKeys.map { qualified($0, entry.section) } : []
        let names = keys.map { qualified($0.name, $0.section) } + own
        return NearestName.hint(for: qualified(entry.key, entry.section), among: names)
    }
}

extension INIDocument {
    /// An error for each line that is nothing we know, in a file that no other program has under this name.
    func malformedErrors(in file: String) -> [ConfigError] {
        var warnings: [ConfigError] = []
        return malformedErrors(in: file, &warnings)
    }

    /// An error for each line that is neither blank, comment, section nor `key = value`; at most 20.
    ///
    /// - Parameter warnings: gets one for each section that is a list in Haraka's file of that name.
    func malformedErrors(in file: String, _ warnings: inout [ConfigError]) -> [ConfigError] {
        var errors: [ConfigError] = []
        var remarked: Set<String> = []
        let headers = headers
        for line in malformedLines where errors.count < 20 {
            let section = headers.last { $0.line < line }?.name
            guard let remark = ForeignKeys.remark(onLineOf: section, in: file) else {
                let reason = "neither a [section], a key = value, nor a comment"
                errors.append(ConfigError(file: file, line: line, reason: reason))
                continue
            }
            guard remarked.insert(remark).inserted else { continue }
            warnings.append(ConfigError(file: file, line: line, reason: remark))
        }
        return errors
    }
}

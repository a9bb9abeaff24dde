// Origin.swift — where each value of the configuration comes from: a file and its line, a variable, or the default.

import Mail

/// A key, its value, and where that stands.
package struct Origin: Hashable, Sendable {
    /// Where a value stands.
    package enum Place: Hashable, Sendable {
        /// Nowhere.
        case standard
        /// In its file, in a line counted from 1.
        case line(Int)
        /// In a variable of the environment.
        case variable(String)
    }

    package let file: String
    /// nil for keys that stand before any section, or in `[main]`.
    package let section: String?
    /// Empty for a file that is a plain list.
    package let key: String
    /// nil for a default; secrets are covered.
    package let value: String?
    package let place: Place
}

extension SettingsReader {
    /// Every key that is set, and every one that could be, in the order of files and lines.
    ///
    /// - Throws: when a file cannot be read.
    package func origins() throws(ConfigErrors) -> [Origin] {
        var found: [Origin] = []
        for file in Self.files {
            let text = try fileText(file) ?? ""
            guard file.ends(withOctets: ".ini") else {
                found += plain(file, text)
                continue
            }
            let entries = INIDocument(parsing: text).entries
            for entry in entries where environment.pin(entry.key, in: entry.section, of: file) == nil {
                let section = entry.section == "main" ? nil : entry.section
                let value = Redaction.shown(entry, in: section, of: file)
                found.append(
                    Origin(file: file, section: section, key: entry.key, value: value, place: .line(entry.line))
                )
            }
            for pin in environment.pins where pin.file == file {
                found.append(pinned(file, pin))
            }
            let names = Self.keyed.first { $0.file == file }?.names ?? []
            for name in names
            where !found.contains(where: { $0.file == file && $0.section == name.0 && $0.key == name.1 }) {
                found.append(Origin(file: file, section: name.0, key: name.1, value: nil, place: .standard))
            }
        }
        return found
    }

    /// Where the keys of `outbound.ini` stand: `outbound.ini:12`, or the variable's name; those that stand nowhere are left out.
    func outboundPlaces() -> [String: String] {
        let file = OutboundSettings.file
        var places: [String: String] = [:]
        let text = (try? fileText(file)) ?? nil
        for entry in text.map({ INIDocument(parsing: $0).entries }) ?? []
        where entry.section == nil || entry.section == "main" {
            let place = "\(file):\(entry.line)"
            if let key = OutboundSettings.keys.first(where: { $0.isCalled(entry.key) }) { places[key.name] = place }
            // Haraka's name for the same.
            if entry.key == "pool_concurrency_max" { places["concurrency_per_lane"] = place }
        }
        for pin in environment.pins where pin.file == file { places[pin.key] = pin.variable }
        return places
    }

    /// `me`, `relay_acl_allow`: a value for each line.
    private func plain(_ file: String, _ text: String) -> [Origin] {
        let pins = environment.pins.filter { $0.file == file }
        if !pins.isEmpty {
            return pins.map { pinned(file, $0) }
        }
        // A template is one text, not a list of values.
        guard file != Self.bounceFile else { return [] }
        return PlainLines.of(text).map { line in
            Origin(
                file: file,
                section: nil,
                key: "",
                value: ValueParsing.shown(line.text),
                place: .line(line.line)
            )
        }
    }

    /// A value of the environment as it may be shown.
    private func pinned(_ file: String, _ pin: Environment.Pin) -> Origin {
        let entry = INIDocument.Entry(line: 0, section: pin.section, key: pin.key, value: pin.value, cut: nil)
        let value = pin.key.isEmpty ? ValueParsing.shown(pin.value) : Redaction.shown(entry, in: pin.section, of: file)
        return Origin(file: file, section: pin.section, key: pin.key, value: value, place: .variable(pin.variable))
    }
}

extension KeyedSettings {
    /// Sections and names of the documented keys.
    static var names: [(String?, String)] { keys.map { ($0.section, $0.name) } }
}

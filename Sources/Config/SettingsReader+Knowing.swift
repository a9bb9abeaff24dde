// SettingsReader+Knowing.swift — which keys there are and what they take, for whoever writes a configuration.

import Mail

extension SettingsReader {
    /// Whether a file of typed keys has a key, also one that is only understood.
    ///
    /// - Parameter section: nil for keys that stand before any section.
    package static func knows(_ key: String, in section: String?, of file: String) -> Bool {
        keyed.first { $0.file.isSame(octets: file) }?.shows(key, section) ?? false
    }

    /// Whether a value would be taken.
    package static func takes(_ value: String, for key: String, in section: String?, of file: String) -> Bool {
        keyed.first { $0.file.isSame(octets: file) }?.takes(value, for: key, in: section) ?? false
    }
}

extension KeyedSettings {
    fileprivate static func takes(_ value: String, for key: String, in section: String?) -> Bool {
        let known = (keys + quietKeys).first {
            $0.isCalled(key) && ($0.section ?? "").isSame(octets: section ?? "")
        }
        return known.map { complaint(about: value, for: $0) == nil } ?? false
    }
}

// LimitSettings+EntryEditing.swift — sections `[in …]` of `limits.ini` as they are listed and written.

import Mail

extension LimitSettings {
    /// The keys of a section `[in …]`.
    package static let entryKeys = EntryMeasure.allCases.map(\.rawValue) + EntryTerms.Key.allCases.map(\.rawValue)

    /// The name of a section `[in …]` in normal form; nil for another one.
    package static func entrySection(_ text: String) -> String? {
        guard let rest = entryName(text) else { return nil }
        let words = rest.utf8.split(maxSplits: 1) { $0 == 0x20 || $0 == 0x09 }.map { String(Substring($0)) }
        guard words.count == 2, EntryScope.words.contains(where: { $0.isSame(octets: words[0]) }) else { return nil }
        let name = String(words[1].trimmed)
        if name.isSame(octets: "*") { return "in \(words[0]) *" }
        return entryScope(words[0], name).map { "in \($0)" }
    }
}

// Settings+Strangers.swift — sections for the mail of a listener or a login that there is not: they never count, and nobody
// would notice.

import Mail

extension Settings {
    /// What `rewrite.ini` and `archive.ini` say of listeners and logins that nobody has.
    var strangers: [ConfigError] {
        let tables = rewriting.tables.map { (Rewriting.file, "[\($0.name)]", $0.whose) }
        let rules = archive.rules.flatMap { rule in
            rule.ways.map { (ArchiveSettings.file, "[\(rule.name)] for = \($0)", $0) }
        }
        return (tables + rules).compactMap { file, place, whose in
            reason(against: whose).map { ConfigError(file: file, reason: "\(ValueParsing.shown(place)): \($0)") }
        }
    }

    private func reason(against whose: Whose) -> String? {
        switch whose {
        case .all, .client: return nil
        case .login(let name):
            return auth.users[name] == nil ? "nobody of that name is in \(AuthSettings.file)" : nil
        case .place(let place):
            return listener.everywhere.contains(place) ? nil : "nothing listens there by \(ListenerSettings.file)"
        case .listener(let name):
            let isKnown = name.isSame(octets: Whose.api) || listener.sections.contains { $0.name.isSame(octets: name) }
            return isKnown ? nil : "\(ListenerSettings.file) has no [listener \(name)]"
        }
    }
}

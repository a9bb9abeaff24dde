// Redaction.swift — what of a configuration file may be shown: in diffs, by `config show`.
//
// Guarantee: a value is shown only when it was understood and is no secret. A word that nobody knows may be a mistyped
// `auth_pass`, so its value is not shown; nor is a line that cannot be read.

import Mail

/// Values without their secrets.
enum Redaction {
    /// Stands for a secret.
    static let secret = "(secret)"
    /// Stands for what may be one.
    static let unknown = "(not understood)"

    /// The lines of a document as they may be shown.
    static func lines(of document: INIDocument, in file: String) -> [String] {
        // Networks, and words about them: there is no place for a secret.
        if file.isSame(octets: RelayNetworks.file) {
            return document.text.split(octet: "\n", omittingEmpty: false).map { ValueParsing.shown($0) }
        }
        var entries = document.entries[...]
        var section: String?
        return document.lines.enumerated().map { index, line in
            switch line.kind {
            case .blank: return ""
            case .malformed: return unknown
            case .comment(let key):
                // A default, or what once was a value.
                guard let key, let entry = commented(document.string(key.lowerBound..<line.range.upperBound)) else {
                    return "; …"
                }
                return "; \(entry.key) = \(shown(entry, in: section, of: file))"
            case .header(let name):
                section = document.string(name)
                return "[\(document.string(name))]"
            case .entry:
                guard entries.first?.line == index + 1, let entry = entries.popFirst() else { return unknown }
                return "\(entry.key) = \(shown(entry, in: section, of: file))"
            }
        }
    }

    private static func commented(_ text: String) -> INIDocument.Entry? { INIDocument(parsing: text).entries.first }

    /// A value as it may be shown.
    static func shown(_ entry: INIDocument.Entry, in section: String?, of file: String) -> String {
        let section = section.flatMap { $0.isSame(octets: "main") ? nil : $0 }
        switch file {
        case Routes.file: return route(entry)
        case OutboundIPs.file: return ["ip", "helo"].contains(entry.key) ? ValueParsing.shown(entry.value) : unknown
        case LimitSettings.file:
            let isKnown =
                LimitTerms.Key(rawValue: entry.key) != nil || ["mx", "when", "threshold", "do"].contains(entry.key)
            return isKnown ? ValueParsing.shown(entry.value) : unknown
        case Rewriting.file where section.map { $0.isSame(octets: SRS.section) } ?? false:
            return ["domain", "days"].contains { $0.isSame(octets: entry.key) }
                ? ValueParsing.shown(entry.value) : secret
        case Rewriting.file where section.map { $0.isSame(octets: ReturnPaths.section) } ?? false:
            return ReturnPaths.openKeys.contains { $0.isSame(octets: entry.key) }
                ? ValueParsing.shown(entry.value) : secret
        // Addresses, and words about them.
        case Rewriting.file, ArchiveSettings.file: return ValueParsing.shown(entry.value)
        case HookSettings.file: return hook(entry)
        case StorageSettings.file where entry.key.isSame(octets: "queue"): return StorageSettings.shown(entry.value)
        case EventSettings.file:
            return EventSettings.shows(entry.key, section) ? ValueParsing.shown(entry.value) : secret
        default:
            let isKnown = SettingsReader.keyed.contains { $0.file.isSame(octets: file) && $0.shows(entry.key, section) }
            // Users' lines, tokens' hashes, and what nobody knows.
            return isKnown ? ValueParsing.shown(entry.value) : secret
        }
    }

    private static func route(_ entry: INIDocument.Entry) -> String {
        do throws(ValueError) {
            switch try RouteLine(entry) {
            case .direct(let isDirect): return isDirect ? "true" : "false"
            case .ending(let ending): return ending.map { ValueParsing.shown($0.written) } ?? "false"
            case .property(let property, let value): return word(property, value)
            case .hosts(let hosts): return hosts.map(host).joined(separator: ", ")
            }
        } catch { return unknown }
    }

    private static func host(_ host: RouteSection.Host) -> String {
        // A URL with a login shows the place alone.
        var text = host.mx.auth.map { "\(host.mx) (as \($0.user))" } ?? host.place
        for property in RouteProperty.allCases {
            guard let value = host.words[property] else { continue }
            text += " \(property.rawValue)=\(word(property, value))"
        }
        return text
    }

    private static func word(_ property: RouteProperty, _ value: String) -> String {
        if property.kind == .secret { return SecretReference(value).isElsewhere ? ValueParsing.shown(value) : secret }
        do throws(ValueError) { try property.check(value) } catch { return unknown }
        return ValueParsing.shown(value)
    }

    private static func hook(_ entry: INIDocument.Entry) -> String {
        guard entry.key.isSame(octets: "url") else {
            return HookSettings.isKnown(entry.key) ? ValueParsing.shown(entry.value) : unknown
        }
        return HookSettings.isURL(entry.value) ? ValueParsing.shown(entry.value) : unknown
    }
}

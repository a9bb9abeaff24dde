// LoginSettings+Reading.swift — `logins.ini` into its settings. As strict as `hooks.ini`: half a condition would let strangers in.

import HTTPClient
import Mail

extension LoginSettings {
    /// The file's name in the configuration directory.
    package static let file = "logins.ini"

    private static let issuerKeys = [
        "issuer", "keys", "audience", "scopes", "user_claim", "leeway", "refresh", "timeout",
    ]
    private static let directoryKeys = [
        "url", "starttls", "ca_file", "user_dn", "base", "filter", "bind_dn", "bind_password", "timeout",
    ]

    /// Reads the whole file.
    ///
    /// - Throws: all errors of the file (at most 50), each with its line.
    package static func read(_ document: INIDocument) throws(ConfigErrors) -> LoginSettings {
        var settings = LoginSettings()
        var report = SectionReport(document, file: file, expecting: "[oauth …]")
        for section in document.blocks where report.hasRoom {
            let words = section.name.words.map(String.init)
            guard words.count == 2, ["oauth", "ldap"].contains(where: { $0.isSame(octets: words[0]) }) else {
                report.fail(
                    section.line,
                    "[\(ValueParsing.shown(section.name))] is neither [oauth NAME] nor [ldap NAME]"
                )
                continue
            }
            guard report.isFirst(section.name, section.line) else { continue }
            if words[0].isSame(octets: "oauth") {
                var issuer = Issuer(name: words[1])
                each(section, &report) { (key, value) throws(ValueError) in try take(key, value, into: &issuer) }
                if let complaint = complaint(issuer) { report.fail(section.line, complaint) }
                settings.issuers.append(issuer)
            } else {
                var directory = Directory(name: words[1])
                each(section, &report) { (key, value) throws(ValueError) in try take(key, value, into: &directory) }
                if let complaint = complaint(directory) { report.fail(section.line, complaint) }
                settings.directories.append(directory)
            }
        }
        try report.finish()
        return settings
    }

    private static func each(
        _ section: INIDocument.Block,
        _ report: inout SectionReport,
        _ take: (String, String) throws(ValueError) -> Void
    ) {
        var seen: [String] = []
        for entry in section.entries {
            do throws(ValueError) {
                guard !seen.contains(where: { $0.isSame(octets: entry.key) }) else {
                    throw ValueError("\(ValueParsing.shown(entry.key)) stands twice in its section")
                }
                seen.append(entry.key)
                try take(entry.key, entry.value)
            } catch {
                report.fail(entry.line, error.reason)
            }
        }
    }

    private static func complaint(_ issuer: Issuer) -> String? {
        let name = "[oauth \(issuer.name)]"
        if issuer.issuer.isEmpty { return "\(name) has no issuer" }
        if issuer.keys.isEmpty { return "\(name) has no keys: the URL or the file of a JWKS" }
        // Without one a token for any other service would let its bearer in here.
        return issuer.audiences.isEmpty ? "\(name) has no audience: whom its tokens are for" : nil
    }

    private static func complaint(_ directory: Directory) -> String? {
        let name = "[ldap \(directory.name)]"
        if directory.url.isEmpty { return "\(name) has no url" }
        if (directory.userDN == nil) == (directory.base == nil) { return "\(name) has user_dn or base, one of them" }
        if (directory.bindDN == nil) != (directory.bindPassword == nil) {
            return "\(name) has bind_dn and bind_password together or not at all"
        }
        return directory.startsTLS && directory.url.lowercasedASCII.starts(withOctets: "ldaps:")
            ? "\(name) has TLS from the start; starttls says nothing there" : nil
    }

    private static func take(_ key: String, _ value: String, into issuer: inout Issuer) throws(ValueError) {
        switch key {
        case "issuer": issuer.issuer = value
        case "keys":
            if value.starts(withOctets: "http") {
                let url: WebURL
                do throws(HTTPError) { url = try WebURL(value) } catch { throw ValueError("keys: \(error.text)") }
                // Who changes the keys on the way lets in whom he likes.
                guard url.isConfidential else { throw ValueError("keys: https, unless it is this machine") }
            }
            issuer.keys = value
        case "audience": issuer.audiences = ValueParsing.list(value).map(String.init)
        case "scopes": issuer.scopes = ValueParsing.list(value).map(String.init)
        case "user_claim":
            guard !value.isEmpty else { throw ValueError("user_claim names no claim") }
            issuer.userClaim = value
        case "leeway": issuer.leeway = try ValueParsing.duration(value, 0...600)
        case "refresh": issuer.refresh = try ValueParsing.duration(value, 60...86_400)
        case "timeout": issuer.timeout = try ValueParsing.duration(value, 1...60)
        default: throw unknown(key, issuerKeys)
        }
    }

    private static func take(_ key: String, _ value: String, into directory: inout Directory) throws(ValueError) {
        switch key {
        case "url":
            let scheme = value.lowercasedASCII
            guard ["ldap://", "ldaps://"].contains(where: { scheme.starts(withOctets: $0) }),
                value.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
            else { throw ValueError("\"\(ValueParsing.shown(value))\" is not ldap://host:389 or ldaps://host") }
            directory.url = value
        case "starttls": directory.startsTLS = try ValueParsing.boolean(value)
        case "ca_file": directory.caFile = value.isEmpty ? nil : value
        case "user_dn": directory.userDN = try template(value)
        case "base": directory.base = value
        case "filter": directory.filter = try template(value)
        case "bind_dn": directory.bindDN = value.isEmpty ? nil : value
        case "bind_password": directory.bindPassword = value.isEmpty ? nil : Secret(value)
        case "timeout": directory.timeout = try ValueParsing.duration(value, 1...60)
        default: throw unknown(key, directoryKeys)
        }
    }

    private static func template(_ value: String) throws(ValueError) -> String {
        guard Template(value) != nil else {
            throw ValueError("\"\(ValueParsing.shown(value))\" has no %u, %l or %d: login, its local part, its domain")
        }
        return value
    }

    private static func unknown(_ key: String, _ known: [String]) -> ValueError {
        ValueError("unknown key \(ValueParsing.shown(key))\(NearestName.hint(for: key, among: known))")
    }
}

extension LoginSettings {
    /// A text with places for a login: `%u` all of it, `%l` what stands before the @, `%d` what stands behind it; `%%` is `%`.
    package struct Template: Hashable, Sendable {
        private let text: String

        /// - Returns: nil for one without a place, and for a `%` that means nothing.
        package init?(_ text: String) {
            var hasPlace = false
            var rest = Array(text.utf8)[...]
            while let byte = rest.popFirst() {
                guard byte == UInt8(ascii: "%") else { continue }
                switch rest.popFirst() {
                case UInt8(ascii: "u"), UInt8(ascii: "l"), UInt8(ascii: "d"): hasPlace = true
                case UInt8(ascii: "%"): break
                default: return nil
                }
            }
            guard hasPlace else { return nil }
            self.text = text
        }

        /// The text for a login.
        ///
        /// - Parameter escape: makes a value harmless where it stands.
        package func filled(_ login: String, _ escape: ([UInt8]) -> [UInt8]) -> String {
            let login = Array(login.utf8)
            let at = login.lastIndex(of: UInt8(ascii: "@"))
            var (filled, rest) = ([UInt8](), Array(text.utf8)[...])
            while let byte = rest.popFirst() {
                guard byte == UInt8(ascii: "%") else {
                    filled.append(byte)
                    continue
                }
                switch rest.popFirst() {
                case UInt8(ascii: "u"): filled += escape(login)
                case UInt8(ascii: "l"): filled += escape(Array(login[..<(at ?? login.endIndex)]))
                case UInt8(ascii: "d"): filled += escape(at.map { Array(login[($0 + 1)...]) } ?? [])
                default: filled.append(UInt8(ascii: "%"))
                }
            }
            return String(decoding: filled, as: UTF8.self)
        }
    }
}

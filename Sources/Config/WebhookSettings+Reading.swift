// WebhookSettings+Reading.swift — the sections `[webhook NAME]` of `events.ini` into settings.
//
// As strict as hooks: a word that is not understood is an error, because a filter half understood would tell a receiver
// what it was not to hear.

import HTTPClient
import Mail

extension WebhookSettings {
    /// Receivers; each costs a little memory, and a query when something happens.
    package static let most = 100
    /// What stands before a name in the brackets.
    package static let prefix = "webhook "
    /// Every key of a section, in the order in which they are shown.
    package static let keys = [
        "url", "enabled", "secret", "secret_previous", "types", "routes", "tags", "sender_domains", "format", "batch",
        "concurrency", "ordered", "allow_private", "timeout", "retry_first", "retry_max",
    ]
    /// Those whose values are not shown.
    package static let secretKeys = ["secret", "secret_previous"]

    /// Whether a section of `events.ini` is one of ours.
    package static func owns(_ section: String) -> Bool {
        section.starts(withOctets: prefix) || section.isSame(octets: "webhook")
    }

    /// The section of a name.
    package static func section(_ name: String) -> String { "\(prefix)\(name)" }

    /// A name has 1 to 64 letters, digits, dots, hyphens or underscores.
    package static func isName(_ name: some StringProtocol) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy { octet in
                switch octet {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }

    /// Reads every section of that kind.
    ///
    /// - Throws: all errors, each with its line, and without a secret.
    static func read(
        _ document: INIDocument,
        of file: String,
        in surroundings: inout Surroundings
    ) throws(ConfigErrors) -> WebhookSettings {
        var settings = WebhookSettings()
        var errors: [ConfigError] = []
        var seen: [String: Int] = [:]
        for block in document.blocks where owns(block.name) {
            func fail(_ line: Int, _ reason: String) {
                errors.append(ConfigError(file: file, line: line, reason: reason))
            }
            let name = String(block.name.dropping(octets: prefix.utf8.count))
            guard isName(name) else {
                fail(block.line, "the name of a webhook has 1 to 64 letters, digits, dots, hyphens or underscores")
                continue
            }
            if let line = seen.updateValue(block.line, forKey: name) {
                fail(block.line, "[\(block.name)] began in line \(line) already")
                continue
            }
            var reading = WebhookReading(name)
            for entry in block.entries {
                do throws(ValueError) { try reading.take(entry, in: &surroundings) } catch {
                    fail(entry.line, "\(ValueParsing.shown(entry.key)): \(error.reason)")
                }
            }
            do throws(ValueError) { settings.endpoints.append(try reading.finish()) } catch {
                if errors.isEmpty { fail(block.line, "[\(block.name)] \(error.reason)") }
            }
        }
        if settings.endpoints.count > most {
            errors.append(ConfigError(file: file, reason: "there are more than \(most) webhooks"))
        }
        guard errors.isEmpty else { throw ConfigErrors(Array(errors.prefix(50))) }
        return settings
    }

    /// Whether two values of a key mean the same; nil: the key is not there.
    package static func isSame(_ key: String, _ one: String?, _ other: String?) -> Bool {
        if let one, let other, one.isSame(octets: other) { return true }
        // References and keys are compared as they are written.
        guard !secretKeys.contains(where: { $0.isSame(octets: key) }) else { return one == nil && other == nil }
        func read(_ value: String?) throws(ValueError) -> Endpoint {
            var reading = WebhookReading("")
            var surroundings = Surroundings.ignored
            guard let value else { return reading.endpoint }
            let entry = INIDocument.Entry(line: 1, section: nil, key: key, value: value, cut: nil)
            try reading.take(entry, in: &surroundings)
            return reading.endpoint
        }
        do throws(ValueError) { return try read(one) == read(other) } catch { return false }
    }

    /// Whether a text can be one of the `types`: words between dots, the last may be `*`; `*` is all.
    package static func isPattern(_ text: some StringProtocol) -> Bool {
        let words = text.split(octet: ".", omittingEmpty: false)
        guard text.utf8.count <= 64, words.count <= 4 else { return false }
        return words.enumerated().allSatisfy { index, word in
            index == words.count - 1 && word.isSame(octets: "*")
                || !word.isEmpty
                    && word.utf8.allSatisfy {
                        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || $0 == UInt8(ascii: "_")
                    }
        }
    }
}

/// One section while its lines are taken.
private struct WebhookReading {
    private(set) var endpoint: WebhookSettings.Endpoint
    private var seen: Set<String> = []
    private var keys: [String: WebhookSettings.Key] = [:]

    init(_ name: String) { endpoint = WebhookSettings.Endpoint(name: name) }

    mutating func take(_ entry: INIDocument.Entry, in surroundings: inout Surroundings) throws(ValueError) {
        guard WebhookSettings.keys.contains(where: { $0.isSame(octets: entry.key) }) else {
            throw ValueError("unknown key\(NearestName.hint(for: entry.key, among: WebhookSettings.keys))")
        }
        guard seen.insert(entry.key).inserted else { throw ValueError("stands twice in its section") }
        let value = entry.value
        switch entry.key {
        case "url": endpoint.url = try Self.url(value)
        case "secret", "secret_previous":
            guard !value.isEmpty else { return }
            keys[entry.key] = try Self.key(try surroundings.secret(value))
        case "enabled": endpoint.isEnabled = try ValueParsing.boolean(value)
        case "types": endpoint.types = try Self.types(value)
        case "routes": endpoint.routes = ValueParsing.list(value).map(\.lowercasedASCII)
        case "tags": endpoint.tags = ValueParsing.list(value).map(String.init)
        case "sender_domains": endpoint.senderDomains = try Self.domains(value)
        case "format":
            guard let format = WebhookSettings.Format(rawValue: value) else {
                let all = WebhookSettings.Format.allCases.map(\.rawValue).joined(separator: ", ")
                throw ValueError("\"\(ValueParsing.shown(value))\" is none of \(all)")
            }
            endpoint.format = format
        case "batch": endpoint.batch = try ValueParsing.count(value, 1...100)
        case "concurrency": endpoint.concurrency = try ValueParsing.count(value, 1...4)
        case "ordered": endpoint.isOrdered = try ValueParsing.boolean(value)
        case "allow_private": endpoint.allowsPrivate = try ValueParsing.boolean(value)
        case "timeout": endpoint.timeout = try ValueParsing.duration(value, 1...120)
        case "retry_first": endpoint.retryFirst = try ValueParsing.duration(value, 1...3600)
        default: endpoint.retryMax = try ValueParsing.duration(value, 1...86_400)
        }
    }

    /// - Throws: what is missing, or what contradicts itself.
    func finish() throws(ValueError) -> WebhookSettings.Endpoint {
        var endpoint = endpoint
        guard !endpoint.url.isEmpty else { throw ValueError("has no url") }
        guard let key = keys["secret"] else {
            throw ValueError("has no secret: whsec_ and base64 of 24 to 64 octets, @file:secrets/NAME or @env:NAME")
        }
        endpoint.keys = [key] + (keys["secret_previous"].map { [$0] } ?? [])
        if endpoint.url.starts(withOctets: "http:"), !endpoint.allowsPrivate {
            throw ValueError("has a url without TLS, which goes to private addresses only, with allow_private = true")
        }
        guard !endpoint.isOrdered || endpoint.concurrency == 1 else {
            throw ValueError("is ordered, so it has one request at once: leave concurrency out")
        }
        guard endpoint.retryFirst <= endpoint.retryMax else { throw ValueError("has retry_first beyond retry_max") }
        return endpoint
    }

    private static func url(_ value: String) throws(ValueError) -> String {
        let text: String
        do throws(HTTPError) { text = try WebURL(normalizing: value).text } catch {
            // What was not understood is not shown: it may hold a token.
            throw ValueError("is not https://host/path: \(error.text)")
        }
        guard text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }), !text.contains(octet: "#") else {
            throw ValueError("is not https://host/path: a URL is ASCII, and has no fragment here")
        }
        return text
    }

    private static func key(_ secret: Secret) throws(ValueError) -> WebhookSettings.Key {
        guard let key = WebhookSettings.Key(secret.revealed) else {
            throw ValueError("is not whsec_ and base64 of 24 to 64 octets")
        }
        return key
    }

    private static func types(_ text: String) throws(ValueError) -> [String] {
        let types = ValueParsing.list(text).map(String.init)
        for type in types where !WebhookSettings.isPattern(type) {
            throw ValueError("\"\(ValueParsing.shown(type))\" is not a type such as delivery.bounced or delivery.*")
        }
        return types
    }

    private static func domains(_ text: String) throws(ValueError) -> [String] {
        var found: [String] = []
        for piece in ValueParsing.list(text) {
            guard let domain = Domain(piece) else {
                throw ValueError("\"\(ValueParsing.shown(piece))\" is not a domain")
            }
            found.append(domain.name)
        }
        return found
    }
}

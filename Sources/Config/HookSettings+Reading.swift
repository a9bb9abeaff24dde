// HookSettings+Reading.swift — `hooks.ini` into its settings.
//
// As strict as the route table: a word that is not understood is an error, because a hook that is half configured would
// let mail pass that its writer wanted to stop.

import HTTPClient
import Mail

extension HookSettings {
    /// The file's name in the configuration directory.
    package static let file = "hooks.ini"
    /// The file with the deadline of one call, in seconds.
    static let timeoutFile = "plugin_timeout"

    private static let sectionKeys = [
        "url", "hooks", "timeout", "fail", "fail_queue_outbound", "fail_send_email", "fail_get_mx", "fail_connect",
        "fail_mail", "fail_rcpt", "contents", "breaker_failures", "breaker_pause", "auth_tokens",
    ]
    /// Hooks for which waiting is an answer; the others go on as if there were no plugin.
    private static let closable: HookSet = [.queueOutbound, .sendEmail, .getMX, .connect, .mail, .rcpt]

    /// Reads the whole file.
    ///
    /// - Throws: all errors of the file (at most 50), each with its line.
    package static func read(_ document: INIDocument) throws(ConfigErrors) -> HookSettings {
        var errors = document.malformedErrors(in: file)
        var settings = HookSettings()
        var sections: [String: (place: Int, line: Int, keys: Set<String>)] = [:]
        func fail(_ line: Int, _ reason: String) {
            if errors.count < 50 { errors.append(ConfigError(file: file, line: line, reason: reason)) }
        }
        for header in document.headers where header.name != "main" {
            if let known = sections[header.name] {
                fail(header.line, "[\(ValueParsing.shown(header.name))] began in line \(known.line) already")
            } else {
                sections[header.name] = (settings.endpoints.count, header.line, [])
                settings.endpoints.append(Endpoint(name: header.name))
            }
        }
        for entry in document.entries {
            do throws(ValueError) {
                if let name = entry.section, name != "main", let section = sections[name] {
                    guard sections[name]?.keys.insert(entry.key).inserted == true else {
                        throw ValueError("stands twice in its section")
                    }
                    try take(entry.key, entry.value, into: &settings.endpoints[section.place])
                } else if entry.key == "plugins" {
                    settings.plugins = ValueParsing.list(entry.value).map(String.init)
                } else {
                    throw ValueError("unknown key; before the first [program] there is only plugins")
                }
            } catch {
                fail(entry.line, "\(ValueParsing.shown(entry.key)): \(error.reason)")
            }
        }
        for endpoint in settings.endpoints {
            guard let section = sections[endpoint.name] else { continue }
            // characters: keys that were known when they were read
            if !section.keys.contains("url") { fail(section.line, "[\(endpoint.name)] has no url") }
            // characters: likewise
            if !section.keys.contains("hooks") { fail(section.line, "[\(endpoint.name)] has no hooks") }
        }
        guard errors.isEmpty else { throw ConfigErrors(errors.sorted { ($0.line ?? 0) < ($1.line ?? 0) }) }
        return settings
    }

    /// Whether a key means something in the file.
    static func isKnown(_ key: String) -> Bool { (sectionKeys + ["plugins"]).contains { $0.isSame(octets: key) } }

    /// Whether a text can be the `url` of a program; then it holds no login.
    static func isURL(_ text: String) -> Bool {
        var endpoint = Endpoint(name: "")
        do throws(ValueError) {
            try takeURL(text, into: &endpoint)
            return true
        } catch { return false }
    }

    /// The rule of a program holds only when it gives up before the relay gives it up.
    func checkTimeouts() throws(ConfigErrors) {
        let late = endpoints.filter { $0.timeout >= timeout }
        guard late.isEmpty else {
            throw ConfigErrors(
                late.map {
                    ConfigError(
                        file: Self.file,
                        reason: "[\($0.name)] timeout = \($0.timeout) must be less than plugin_timeout (\(timeout))"
                    )
                }
            )
        }
    }

    /// The deadline in `plugin_timeout`: the first line that is no comment; an empty file is as good as none.
    static func readTimeout(_ text: String) throws(ConfigErrors) -> Int? {
        guard let line = PlainLines.of(text).first else { return nil }
        do throws(ValueError) {
            return try ValueParsing.duration(line.text, 1...3600)
        } catch {
            throw ConfigErrors([ConfigError(file: timeoutFile, line: line.line, reason: error.reason)])
        }
    }

    private static func take(_ key: String, _ value: String, into endpoint: inout Endpoint) throws(ValueError) {
        switch key {
        case "url": try takeURL(value, into: &endpoint)
        case "hooks": try takeHooks(value, into: &endpoint)
        case "auth_tokens": endpoint.takesTokens = try ValueParsing.boolean(value)
        case "timeout": endpoint.timeout = try ValueParsing.duration(value, 1...3600)
        case "fail":
            // A word for one hook wins, wherever it stands.
            let others = closable.subtracting(endpoint.ruled)
            if try isClosed(value) { endpoint.closed.formUnion(others) } else { endpoint.closed.subtract(others) }
        case "contents":
            guard let contents = Endpoint.Contents(rawValue: value) else {
                throw ValueError("\"\(ValueParsing.shown(value))\" is none of none, header, message")
            }
            endpoint.contents = contents
        case "breaker_failures": endpoint.breakerFailures = try ValueParsing.count(value, 0...1_000_000)
        case "breaker_pause": endpoint.breakerPause = try ValueParsing.duration(value, 1...86_400)
        default: try takeFail(key, value, into: &endpoint)
        }
    }

    /// `fail_HOOK`.
    private static func takeFail(_ key: String, _ value: String, into endpoint: inout Endpoint) throws(ValueError) {
        guard !key.isSame(octets: "fail_\(loginHook)") else {
            throw ValueError("nobody is let in without an answer; there is nothing to choose")
        }
        guard let hook = key.rest(behind: "fail_").flatMap({ Hook(rawValue: String($0)) }) else {
            let hint = NearestName.hint(for: key, among: sectionKeys)
            throw ValueError("unknown key\(hint)")
        }
        guard closable.has(hook) else {
            throw ValueError("\(hook.rawValue) always goes on without an answer; only what comes before can wait")
        }
        if try isClosed(value) { endpoint.closed.insert(HookSet(hook)) } else { endpoint.closed.remove(HookSet(hook)) }
        endpoint.ruled.insert(HookSet(hook))
    }

    private static func isClosed(_ value: String) throws(ValueError) -> Bool {
        switch value {
        case "open": return false
        case "closed": return true
        default: throw ValueError("\"\(ValueParsing.shown(value))\" is neither open nor closed")
        }
    }

    /// The hook that says who may log in: asked before there is mail, and never of plugins.
    private static let loginHook = "auth"

    private static func takeHooks(_ value: String, into endpoint: inout Endpoint) throws(ValueError) {
        (endpoint.hooks, endpoint.answersLogins) = (HookSet(), false)
        for word in ValueParsing.list(value) {
            if word.isSame(octets: loginHook) {
                endpoint.answersLogins = true
                continue
            }
            guard let hook = Hook(rawValue: String(word)) else {
                let names = Hook.allCases.map(\.rawValue) + [loginHook]
                let hint = NearestName.hint(for: String(word), among: names)
                throw ValueError(
                    "\"\(ValueParsing.shown(word))\" is none of \(names.joined(separator: ", "))\(hint)"
                )
            }
            endpoint.hooks.insert(HookSet(hook))
        }
        guard !endpoint.hooks.isEmpty || endpoint.answersLogins else { throw ValueError("names no hook") }
    }

    /// `http://host:port/path`, `https://…`, `unix:/path/of/socket` or `unix:/path/of/socket:/path`.
    private static func takeURL(_ value: String, into endpoint: inout Endpoint) throws(ValueError) {
        let isPlain = value.utf8.allSatisfy { (0x21...0x7E).contains($0) }
        if let rest = value.rest(behind: "unix:"), rest.starts(withOctets: "/"), isPlain {
            // The second part begins behind the first `:/`.
            let parts = rest.split(octet: ":", maxSplits: 1)
            let path = parts.count == 2 ? String(parts[1]) : "/"
            guard let socket = parts.first, path.starts(withOctets: "/") else {
                throw ValueError("\"\(ValueParsing.shown(value))\" is not unix:/socket or unix:/socket:/path")
            }
            guard socket.utf8.count <= 107 else {
                throw ValueError("the path of a Unix socket has at most 107 bytes")
            }
            endpoint.unixSocket = String(socket)
            endpoint.url = "http://localhost\(path)"
            return
        }
        do throws(HTTPError) {
            endpoint.url = try WebURL(normalizing: value).text
        } catch {
            // What was not understood is not shown: it may hold a password.
            throw ValueError("is not http://host:port/path or unix:/path/of/socket: \(error.text)")
        }
        guard endpoint.url.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw ValueError("is not http://host:port/path: a URL is ASCII")
        }
    }
}

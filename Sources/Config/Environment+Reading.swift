// Environment+Reading.swift — variables into pins.
//
// For a value that may be given in more than one way: a file beats the variable itself, and a name of ours beats that of
// another image; each time a note says so. An empty variable is an unset one, as it is for the images people come from.
//
// Not swift-configuration: it answers questions about one key at a time, while we have to find the variables nobody asks
// for, map other images' names, and know which key of which file is pinned; what would be left for it is getenv.

extension Environment {
    /// A value and the variable that gave it.
    private struct Given {
        let value: String
        let variable: String
        /// The path, when the value was read from a file.
        var path: String?
    }

    /// Reads the whole environment.
    ///
    /// - Parameters:
    ///   - variables: all of them; those that are not ours are passed over.
    ///   - file: the bytes of a file that a `…_FILE` names, nil when there is none.
    /// - Throws: everything that was not understood, with the name that was probably meant.
    package init(
        _ variables: [String: String],
        file: (String) throws(ConfigError) -> [UInt8]?
    ) throws(ConfigErrors) {
        var reading = Reading()
        for (name, value) in variables.sorted(by: { $0.key < $1.key }) { reading.take(name, value, file) }
        let pins = reading.pins()
        guard reading.errors.isEmpty else { throw ConfigErrors(reading.errors) }
        self.init(pins: pins, program: reading.program(), notes: reading.notes)
    }

    private struct Reading {
        var direct: [String: Given] = [:]
        var files: [String: Given] = [:]
        var other: [String: Given] = [:]
        var notes: [String] = []
        var errors: [ConfigError] = []

        /// One variable.
        mutating func take(_ name: String, _ value: String, _ file: (String) throws(ConfigError) -> [UInt8]?) {
            if name.hasPrefix(EnvironmentNames.prefix) {
                let rest = name.dropFirst(EnvironmentNames.prefix.count)
                guard !EnvironmentNames.isOfKubernetes(rest) else { return }
                if EnvironmentNames.known[String(rest)] != nil {
                    if !value.isEmpty { direct[String(rest)] = Given(value: value, variable: name) }
                } else if let base = base(rest), EnvironmentNames.known[base] != nil {
                    if let given = contents(name, value, file) { files[base] = given }
                } else {
                    fail(unknown(name, String(rest)))
                }
            } else if let native = EnvironmentNames.aliases[name] {
                if !value.isEmpty { takeAlias(native, Given(value: value, variable: name)) }
            } else if let base = base(name[...]), let native = EnvironmentNames.aliases[base] {
                if let given = contents(name, value, file) { takeAlias(native, given) }
            } else if name.hasPrefix("POSTFIX_") {
                notes.append("\(name) is a setting of Postfix that has no counterpart here; it is ignored")
            }
        }

        private func base(_ name: Substring) -> String? { name.hasSuffix("_FILE") ? String(name.dropLast(5)) : nil }

        private mutating func takeAlias(_ native: String, _ given: Given) {
            if native == "SMTP_LIMITS_MESSAGE_BYTES", given.value == "0" {
                notes.append("\(given.variable)=0 means no limit, which there is none of here; it is ignored")
            } else if let first = other[native], first.path != nil || given.path == nil {
                notes.append("\(given.variable) is ignored, \(first.variable) says the same")
            } else {
                other[native] = given
            }
        }

        private mutating func contents(
            _ name: String,
            _ path: String,
            _ file: (String) throws(ConfigError) -> [UInt8]?
        ) -> Given? {
            guard !path.isEmpty else { return nil }
            do throws(ConfigError) {
                guard let bytes = try file(path) else { throw ConfigError(file: path, reason: "does not exist") }
                guard let text = String(validating: bytes, as: UTF8.self), !text.utf8.contains(0) else {
                    throw ConfigError(file: path, reason: "is not UTF-8 text")
                }
                // Editors and `echo` end a file with a line end that nobody means.
                let end = text.utf8.lastIndex { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
                let value = end.map { String(text[...$0]) } ?? ""
                return Given(value: value, variable: name, path: path)
            } catch {
                fail("\(name): \(error.file) \(error.reason)")
                return nil
            }
        }

        private mutating func fail(_ reason: String) {
            errors.append(ConfigError(file: Environment.name, reason: reason))
        }

        private func unknown(_ name: String, _ rest: String) -> String {
            let names = EnvironmentNames.known.keys.sorted()
            let longer = names.filter { $0.hasPrefix("\(rest)_") }.prefix(5).map { EnvironmentNames.prefix + $0 }
            let nearest = NearestName.of(rest, among: names).map { "did you mean \(EnvironmentNames.prefix)\($0)?" }
            let begun = longer.isEmpty ? nil : "there are \(longer.joined(separator: ", "))"
            return "\(name) is no variable of Martlet; \(nearest ?? begun ?? "see Install.md for the names")"
        }

        /// The value of a native name, by precedence.
        private mutating func value(_ native: String) -> Given? {
            let ours = EnvironmentNames.prefix + native
            if let file = files[native] {
                if let loser = direct[native] ?? other[native] {
                    notes.append("\(loser.variable) is ignored, \(file.variable) wins")
                }
                return file
            }
            if let direct = direct[native] {
                if let loser = other[native] { notes.append("\(loser.variable) is ignored, \(ours) wins") }
                return direct
            }
            guard let alias = other[native] else { return nil }
            let name = alias.path == nil ? ours : "\(ours)_FILE"
            if name != alias.variable { notes.append("\(alias.variable) is understood; here it is called \(name)") }
            return alias
        }

        private var names: [String] { Set(direct.keys).union(files.keys).union(other.keys).sorted() }

        mutating func program() -> [String: String] {
            var found: [String: String] = [:]
            for name in names where EnvironmentNames.known[name] == .program {
                // Other images say plain where we say text.
                found[name] = value(name).map { name == "LOG_FORMAT" && $0.value == "plain" ? "text" : $0.value }
            }
            return found
        }

        /// The pins, in the order of the native names.
        mutating func pins() -> [Pin] {
            var pins: [Pin] = []
            for name in names {
                guard case .key(let file, let section, let key) = EnvironmentNames.known[name], let given = value(name)
                else { continue }
                if let twin = pins.first(where: { $0.file == file && $0.section == section && $0.key == key }) {
                    guard twin.value != given.value else { continue }
                    fail("\(given.variable) and \(twin.variable) say different things about the same key")
                } else if key.isEmpty {
                    for word in words(given.value) {
                        pins.append(Pin(file: file, section: nil, key: "", value: word, variable: given.variable))
                    }
                } else {
                    add(
                        Pin(file: file, section: section, key: key, value: given.value, variable: given.variable),
                        &pins
                    )
                }
            }
            smartHost(&pins)
            return pins
        }

        /// Networks are written as Postfix does, too: `[::1]/128`.
        private func words(_ value: String) -> [String] {
            value.split { $0 == "," || $0.isWhitespace }.map { $0.filter { $0 != "[" && $0 != "]" } }
        }

        private mutating func add(_ pin: Pin, _ pins: inout [Pin]) {
            var trial = INIDocument(parsing: "")
            do throws(ConfigError) {
                try trial.set(pin.key, to: pin.value, in: pin.section)
                pins.append(pin)
            } catch {
                fail("\(pin.variable): the value \(error.reason)")
            }
        }

        /// `[*]` of `routes.ini`.
        private mutating func smartHost(_ pins: inout [Pin]) {
            var given: [String: Given] = [:]
            for name in ["HOST", "PORT", "USERNAME", "PASSWORD", "TLS"] { given[name] = value("SMARTHOST_\(name)") }
            guard let host = given["HOST"] else {
                if let orphan = given.values.map(\.variable).min() {
                    fail("\(orphan) means nothing without MARTLET_SMARTHOST_HOST")
                }
                return
            }
            func pin(_ key: String, _ value: String, _ given: Given) -> Pin {
                Pin(file: Routes.file, section: "*", key: key, value: value, variable: given.variable)
            }
            add(pin("mx", place(host.value, given["PORT"]?.value, given["USERNAME"] != nil), host), &pins)
            if let user = given["USERNAME"] { add(pin("auth_user", user.value, user), &pins) }
            if let password = given["PASSWORD"] {
                // By reference: a password may hold what an INI line cannot.
                let reference = password.path.map { "@file:\($0)" } ?? "@env:\(password.variable)"
                add(pin("auth_pass", reference, password), &pins)
            }
            if let tls = given["TLS"] { add(pin("tls", tls.value, tls), &pins) }
        }

        /// `host:port`; Postfix's `[host]:587` is understood, and a login goes to the submission port.
        private func place(_ host: String, _ port: String?, _ hasLogin: Bool) -> String {
            var host = host
            if host.hasPrefix("["), let end = host.firstIndex(of: "]"), !host[..<end].contains(":") {
                host = String(host[host.index(after: host.startIndex)..<end] + host[host.index(after: end)...])
            }
            if let port { return "\(host):\(port)" }
            let hasPort = host.last != "]" && host.count(where: { $0 == ":" }) == 1 || host.contains("]:")
            return hasPort || !hasLogin ? host : "\(host):587"
        }
    }
}

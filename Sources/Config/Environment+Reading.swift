// Environment+Reading.swift — variables into pins.
//
// For a value that may be given in more than one way: a file beats the variable itself, and a name of ours beats that of
// another image; each time a note says so. An empty variable is an unset one, as it is for the images people come from.
// Errors and notes name variables and never repeat a value: it may be a secret, or come from a file that root alone reads.
//
// Not swift-configuration: it answers questions about one key at a time, while we have to find the variables nobody asks
// for, map other images' names, and know which key of which file is pinned; what would be left for it is getenv.

import Mail

extension Environment {
    /// A value and the variable that gave it.
    struct Given {
        let value: String
        let variable: String
        /// The path, when the value was read from a file.
        var path: String?
    }

    /// Reads a file that a variable names; nil when there is none.
    package typealias FileReader = (String) throws(ConfigError) -> [UInt8]?

    /// Reads the whole environment.
    ///
    /// - Parameters:
    ///   - variables: all of them; those that are not ours are passed over.
    ///   - directory: where paths begin that do not begin with a slash.
    ///   - file: the bytes of a file that a `…_FILE` names, nil when there is none.
    /// - Throws: everything that was not understood, with the name that was probably meant.
    package init(
        _ variables: [String: [UInt8]],
        directory: String = "",
        file: FileReader
    ) throws(ConfigErrors) {
        var reading = EnvironmentReading(directory: directory)
        reading.take(variables, file)
        let pins = reading.pins()
        guard reading.errors.isEmpty else { throw ConfigErrors(reading.errors) }
        self.init(
            variables: variables,
            directory: directory,
            pins: pins,
            program: reading.program(),
            token: reading.token,
            files: reading.paths,
            notes: reading.notes
        )
    }

    /// The same variables, with what the files say now that some of them name.
    func again(_ file: FileReader) throws(ConfigErrors) -> Environment {
        try Environment(variables, directory: directory, file: file)
    }

    /// What is meant for a program, without a look at what is wrong with the rest: the tools have to work beside a broken
    /// configuration.
    ///
    /// - Throws: when a file that one of these names cannot be read.
    package static func program(
        _ variables: [String: [UInt8]],
        directory: String = "",
        file: FileReader
    ) throws(ConfigErrors) -> [String: String] {
        var reading = EnvironmentReading(directory: directory)
        let names = EnvironmentNames.program.flatMap {
            ["\(EnvironmentNames.prefix)\($0)", "\(EnvironmentNames.prefix)\($0)_FILE"]
        }
        reading.take(variables.filter { names.contains($0.key) }, file)
        guard reading.errors.isEmpty else { throw ConfigErrors(reading.errors) }
        return reading.program()
    }
}

/// All variables while they are being read.
struct EnvironmentReading {
    typealias Given = Environment.Given

    private let directory: String
    private var direct: [String: Given] = [:]
    private var files: [String: Given] = [:]
    private var other: [String: Given] = [:]
    /// Every file that was read, or looked for.
    private(set) var paths: Set<String> = []
    private(set) var notes: [String] = []
    private(set) var errors: [ConfigError] = []
    private(set) var token: EnvironmentToken?
    /// Variables that say something, for those whose meaning depends on others.
    private var said: [String: String] = [:]

    init(directory: String) { self.directory = directory }

    mutating func take(_ variables: [String: [UInt8]], _ file: Environment.FileReader) {
        for (name, bytes) in variables {
            guard let text = try? GivenText.value(bytes), !GivenText.isBlank(text),
                !EnvironmentNames.isOfKubernetes(name, text)
            else { continue }
            said[name] = text
        }
        for (name, bytes) in variables.sorted(by: { $0.key < $1.key }) {
            do throws(ValueError) {
                try take(name, bytes, file)
            } catch {
                fail("\(name): \(error.reason)")
            }
        }
        if let given = value(Self.tokenName) {
            token = token ?? EnvironmentToken(given.value, variable: given.variable)
        }
    }

    private static let tokenName = "ADMIN_TOKEN"

    /// One variable.
    private mutating func take(_ name: String, _ bytes: [UInt8], _ file: Environment.FileReader) throws(ValueError) {
        guard name.utf8.allSatisfy({ $0 < 0x80 }) else { return }
        let isOurs = name.starts(withOctets: EnvironmentNames.prefix)
        let bare = name.rest(before: "_FILE").map(String.init)
        // What belongs to others may hold anything.
        guard isOurs || !ForeignVariables.meanings(name, "", beside: said).isEmpty || native(bare) != nil else {
            return
        }
        let text = try GivenText.value(bytes)
        guard !EnvironmentNames.isOfKubernetes(name, text) else { return }
        guard isOurs else { return try takeForeign(name, text, bare, file) }
        let rest = String(name.dropping(octets: EnvironmentNames.prefix.utf8.count))
        if EnvironmentNames.known[rest] != nil {
            if !GivenText.isBlank(text) { direct[rest] = Given(value: text, variable: name) }
        } else if let base = rest.rest(before: "_FILE").map(String.init), EnvironmentNames.known[base] != nil {
            guard !GivenText.isBlank(text) else { return }
            do throws(ValueError) {
                files[base] = try contents(name, text, file)
            } catch {
                guard base == Self.tokenName else { throw error }
                token = .unusable(ConfigError(file: Environment.name, reason: "\(name): \(error.reason)"))
            }
        } else {
            fail(unknown(name, rest))
        }
    }

    /// One variable of another image.
    private mutating func takeForeign(
        _ name: String,
        _ text: String,
        _ bare: String?,
        _ file: Environment.FileReader
    ) throws(ValueError) {
        guard !GivenText.isBlank(text) else { return }
        var given = Given(value: text, variable: name)
        var meanings = ForeignVariables.meanings(name, text, beside: said)
        if let bare, native(bare) != nil {
            given = try contents(name, text, file)
            guard !GivenText.isBlank(given.value) else { return }
            meanings = ForeignVariables.meanings(bare, given.value, beside: said)
        }
        for meaning in meanings {
            switch meaning {
            case .native(let native, let value):
                takeAlias(native, Given(value: value, variable: name, path: given.path))
            case .ignored(let note): notes.append(note)
            case .refused(let reason): fail(reason)
            }
        }
    }

    private func native(_ bare: String?) -> String? {
        bare.flatMap { ForeignVariables.native($0, beside: said) }
    }

    private mutating func takeAlias(_ native: String, _ given: Given) {
        guard let first = other[native] else {
            other[native] = given
            return
        }
        let isSame = first.value.trimmed.isSame(octets: given.value.trimmed)
        if native == ForeignVariables.tlsLevel, let old = TLSLevel(name: first.value),
            let new = TLSLevel(name: given.value)
        {
            // Images come with a level of their own; whoever asks for more gets it.
            if new > old { other[native] = given }
            if new != old { notes.append("\(first.variable) and \(given.variable) differ; the stricter one counts") }
        } else if isSame {
            notes.append("\(given.variable) is ignored, \(first.variable) says the same")
        } else if (first.path == nil) != (given.path == nil) {
            let (winner, loser) = given.path == nil ? (first, given) : (given, first)
            other[native] = winner
            notes.append("\(loser.variable) is ignored, \(winner.variable) wins")
        } else {
            fail("\(first.variable) and \(given.variable) say different things about the same")
        }
    }

    private mutating func contents(
        _ name: String,
        _ path: String,
        _ file: Environment.FileReader
    ) throws(ValueError) -> Given {
        let path = String(path.trimmed)
        let whole = path.starts(withOctets: "/") || directory.isEmpty ? path : "\(directory)/\(path)"
        paths.insert(whole)
        do throws(ConfigError) {
            guard let bytes = try file(whole) else { throw ConfigError(file: whole, reason: "does not exist") }
            do throws(ValueError) {
                return Given(value: try GivenText.value(bytes), variable: name, path: whole)
            } catch {
                throw ConfigError(file: whole, reason: error.reason)
            }
        } catch {
            throw ValueError("\(ValueParsing.shown(error.file)) \(error.reason)")
        }
    }

    private mutating func fail(_ reason: String) {
        errors.append(ConfigError(file: Environment.name, reason: reason))
    }

    private func unknown(_ name: String, _ rest: String) -> String {
        let names = EnvironmentNames.known.keys.sorted()
        let longer = names.filter { $0.starts(withOctets: "\(rest)_") }.prefix(5).map { EnvironmentNames.prefix + $0 }
        let nearest = NearestName.of(rest, among: names).map { "did you mean \(EnvironmentNames.prefix)\($0)?" }
        let begun = longer.isEmpty ? nil : "there are \(longer.joined(separator: ", "))"
        return "\(name) is no variable of Martlet; \(nearest ?? begun ?? "see Install.md for the names")"
    }

    /// The value of a native name, by precedence.
    private mutating func value(_ native: String) -> Given? {
        let ours = EnvironmentNames.prefix + native
        if let file = files[native] {
            for loser in [direct.removeValue(forKey: native), other.removeValue(forKey: native)].compactMap(\.self) {
                notes.append("\(loser.variable) is ignored, \(file.variable) wins")
            }
            return file
        }
        if let direct = direct[native] {
            if let loser = other.removeValue(forKey: native) {
                notes.append("\(loser.variable) is ignored, \(ours) wins")
            }
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
        for name in names where EnvironmentNames.known[name] == .program && name != Self.tokenName {
            guard let text = value(name)?.value, !GivenText.isBlank(text) else { continue }
            found[name] = String(text.trimmed)
        }
        return found
    }
}

// MARK: - Pins

extension EnvironmentReading {
    /// The pins, in the order of the native names.
    mutating func pins() -> [Environment.Pin] {
        var pins: [Environment.Pin] = []
        for name in names {
            guard case .key(let file, let section, let key) = EnvironmentNames.known[name], let given = value(name)
            else { continue }
            let text = String(given.value.trimmed)
            if let twin = pins.first(where: { $0.file == file && $0.section == section && $0.key == key }) {
                guard !twin.value.isSame(octets: text) else { continue }
                fail("\(given.variable) and \(twin.variable) say different things about the same key")
            } else if key.isEmpty {
                // Networks are written as Postfix does, too: `[::1]/128`.
                for word in GivenText.words(text) {
                    let plain = String(decoding: word.utf8.filter { $0 != 0x5B && $0 != 0x5D }, as: UTF8.self)
                    pins.append(
                        Environment.Pin(file: file, section: nil, key: "", value: plain, variable: given.variable)
                    )
                }
            } else {
                add(
                    Environment.Pin(file: file, section: section, key: key, value: text, variable: given.variable),
                    &pins
                )
            }
        }
        smartHost(&pins)
        return pins
    }

    private mutating func add(_ pin: Environment.Pin, _ pins: inout [Environment.Pin]) {
        var trial = INIDocument(parsing: "")
        do throws(ConfigError) {
            try trial.set(pin.key, to: pin.value, in: pin.section)
            pins.append(pin)
        } catch {
            fail("\(pin.variable): the value \(error.reason)")
        }
    }

    /// `[*]` of `routes.ini`.
    private mutating func smartHost(_ pins: inout [Environment.Pin]) {
        var given: [String: Given] = [:]
        for name in EnvironmentNames.smartHost { given[name] = value("SMARTHOST_\(name)") }
        guard let host = given["HOST"] else { return refuseOrphans(given) }
        func pin(_ key: String, _ value: String, _ given: Given) -> Environment.Pin {
            Environment.Pin(file: Routes.file, section: "*", key: key, value: value, variable: given.variable)
        }
        do throws(ValueError) {
            var port: UInt16?
            if let given = given["PORT"] {
                do throws(ValueError) { port = try SmartHost.port(given.value) } catch {
                    return fail("\(given.variable): \(error.reason)")
                }
            }
            let hosts = try SmartHost.list(host.value, port: port, hasLogin: given["USERNAME"] != nil)
            add(pin("mx", hosts.map(\.written).joined(separator: ", "), host), &pins)
        } catch {
            fail("\(host.variable) \(error.reason)")
        }
        if let user = given["USERNAME"] { add(pin("auth_user", String(user.value.trimmed), user), &pins) }
        if let password = given["PASSWORD"] {
            // By reference: a password may hold what an INI line cannot.
            let reference = password.path.map { "@file:\($0)" } ?? "@env:\(password.variable)"
            add(pin("auth_pass", reference, password), &pins)
        }
        if let tls = given["TLS"] { add(pin("tls", String(tls.value.trimmed), tls), &pins) }
        if let tls = given["IMPLICIT_TLS"] { add(pin("implicit_tls", String(tls.value.trimmed), tls), &pins) }
    }

    /// What says how to reach a smart host, and none is named.
    private mutating func refuseOrphans(_ given: [String: Given]) {
        for (name, orphan) in given.sorted(by: { $0.key < $1.key }) {
            let isForeign = !orphan.variable.starts(withOctets: EnvironmentNames.prefix)
            guard isForeign, name == "TLS" else {
                fail("\(orphan.variable) means nothing without MARTLET_SMARTHOST_HOST")
                continue
            }
            // Images say this of all mail, and have it in them from the start.
            if let level = TLSLevel(name: orphan.value), level > .may {
                fail(
                    "\(orphan.variable) asks for protection that only a smart host can be held to; name one with "
                        + "MARTLET_SMARTHOST_HOST, or write tls into the sections of routes.ini and take it away"
                )
            } else {
                notes.removeAll { $0.starts(withOctets: "\(orphan.variable) is understood") }
                notes.append("\(orphan.variable) is ignored: without a smart host, TLS is used where it is offered")
            }
        }
    }
}

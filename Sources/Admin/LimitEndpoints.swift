// LimitEndpoints.swift — limits: sections of `limits.ini` as JSON.

import Config
import JSON
import Mail
import Queue

/// Operations on `limits.ini`: `/v1/limits`.
enum LimitEndpoints: ConfigTable {
    static let file = ConfigFile.limits
    static let words = TableWords(
        noun: "limit",
        missing: .missing("limit", in: "/v1/limits"),
        taken: "there is a section of that name already"
    )

    static let hasPreviews = true

    static func preview(_ edit: Edit, _ services: AdminServices) -> ChangePreview? {
        ChangePreview(limits: edit.before.limits, edit.after.limits, services.queue)
    }

    /// The name of a section.
    enum Key: Hashable, CustomStringConvertible {
        case limit(LimitScope)
        /// `in login app`: mail that comes in.
        case entry(String)

        init?(_ text: String) {
            if let scope = LimitSettings.scope(text) {
                self = .limit(scope)
            } else if let name = LimitSettings.entrySection(text) {
                self = .entry(name)
            } else {
                return nil
            }
        }

        var description: String {
            switch self {
            case .limit(let scope): scope.description
            case .entry(let name): name
            }
        }
    }

    /// A section.
    struct Row {
        let key: Key
        /// Of a provider.
        let hosts: [String]
        /// By their names, as they are written.
        let values: [String: String]
        let line: Int

        init(_ entry: LimitEntry) {
            let values = entry.values.map { ($0.key.rawValue, $0.value) }
            self.init(.limit(entry.scope), entry.hosts, Dictionary(uniqueKeysWithValues: values), entry.line)
        }

        init(_ entry: RawSection) { self.init(.entry(entry.name), [], entry.values, entry.line) }

        private init(_ key: Key, _ hosts: [String], _ values: [String: String], _ line: Int) {
            (self.key, self.hosts, self.values, self.line) = (key, hosts, values, line)
        }
    }

    private static let limitKeys = LimitTerms.Key.written.map(\.rawValue)
    private static let allKeys = limitKeys + LimitSettings.entryKeys

    /// In the order of the file; those of mail that goes out where it is broken.
    static func rows(_ document: INIDocument?, _ settings: Settings, _ services: AdminServices) -> [Row] {
        guard let document else { return LimitSettings.entries(of: settings.limits).map(Row.init) }
        let rows = LimitSettings.entries(in: document).map(Row.init)
        return (rows + entries(document).map(Row.init)).sorted { $0.line < $1.line }
    }

    /// `POST /v1/limits/{scope}/reset`: what one scope has used is forgotten; the limit stays.
    static func reset(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        try request.object().finish()
        guard case .limit(let scope) = try key(request) else {
            throw Problem.invalid("/scope", "format", "is about mail that comes in, and is not reset")
        }
        guard !scope.name.isSame(octets: "*") else {
            throw Problem.invalid("/scope", "format", "names everything of a kind; each has used its own")
        }
        let isReset = services.queue.resetUse(of: scope, at: .now())
        services.audit(request, Change(operation: "resetLimit", subject: "\(scope)"))
        return .json(["scope": .string("\(scope)"), "reset": .bool(isReset)])
    }

    private static func entries(_ document: INIDocument) -> [RawSection] {
        RawSection.all(in: document, keys: LimitSettings.entryKeys, named: LimitSettings.entrySection)
    }

    static func isNamed(_ row: Row, _ key: Key) -> Bool { row.key == key }

    static func write(
        _ draft: inout Draft,
        _ key: Key,
        over old: Row?,
        isPatch: Bool,
        to document: inout INIDocument,
        _ services: AdminServices
    ) throws(Problem) {
        let base = isPatch ? old : nil
        var values = base?.values ?? [:]
        for (name, value) in draft.values { values[name] = value }
        let hosts = draft.hosts ?? base?.hosts ?? []
        try FileEdits.say("") { () throws(ConfigError) in
            switch key {
            case .entry(let name):
                let section = RawSection(name: name, values: values)
                try section.write(to: &document, keys: LimitSettings.entryKeys, named: LimitSettings.entrySection)
            case .limit(let scope):
                let pairs = values.compactMap { name, value in LimitTerms.Key(rawValue: name).map { ($0, value) } }
                let terms = Dictionary(uniqueKeysWithValues: pairs)
                try LimitSettings.put(LimitEntry(scope: scope, hosts: hosts, values: terms), in: &document)
            }
        }
    }

    static func erase(_ key: Key, from document: inout INIDocument, _ services: AdminServices) -> Bool {
        switch key {
        case .limit(let scope): LimitSettings.remove(scope, in: &document)
        case .entry(let name): RawSection.remove(name, from: &document, named: LimitSettings.entrySection)
        }
    }

    static func logged(_ row: Row) -> String {
        let values = allKeys.compactMap { name in row.values[name].map { "\(name)=\($0)" } }
        let hosts = row.hosts.isEmpty ? [] : ["mx=\(row.hosts.joined(separator: ","))"]
        return (hosts + values).joined(separator: " ")
    }

    static func view(_ row: Row, _ services: AdminServices) -> JSON {
        var members = [
            JSON.Member("scope", .string("\(row.key)")),
            JSON.Member("origin", .string(row.line > 0 ? "\(LimitSettings.file):\(row.line)" : LimitSettings.file)),
            JSON.Member("mx", .strings(row.hosts)),
        ]
        for name in allKeys { members.append(JSON.Member(name, .optional(row.values[name]))) }
        return .object(members)
    }

    static func key(_ request: AdminRequest) throws(Problem) -> Key {
        guard let key = Key(request.parameter("scope")) else {
            throw .badName(
                "scope",
                "a limit is about \"provider X\", \"lane X\", \"route X\", \"source X\", \"domain X\", \"sender X\" or \"user X\", "
                    + "or about mail that comes in: \"in login X\", \"in network X\", \"in sender_domain X\", \"in listener X\""
            )
        }
        return key
    }

    /// What a body says; null takes a key away.
    struct Draft {
        var hosts: [String]?
        var values: [String: String?] = [:]
    }

    static func draft(
        _ request: AdminRequest,
        _ key: Key,
        isPatch: Bool,
        _ services: AdminServices
    ) throws(Problem) -> Draft {
        var body = try JSONObject(request.json(), at: "")
        var draft = Draft()
        // What comes out goes in.
        let given = (try body.string("scope"), try body.string("origin")).0
        if let given, Key(given) != key {
            throw Problem.invalid("/scope", "exclusive", "names another section than the path")
        }
        if let value = body.take("mx") {
            switch value {
            case .null: draft.hosts = []
            case .array(let items):
                draft.hosts = []
                for (index, item) in items.enumerated() {
                    guard case .string(let text) = item else {
                        throw Problem.invalid("/mx/\(index)", "type", "must be a string, not \(item.kind)")
                    }
                    try JSONObject.check(text, "/mx/\(index)", atMost: 255)
                    draft.hosts?.append(text)
                }
            default: throw Problem.invalid("/mx", "type", "must be a list of hosts, not \(value.kind)")
            }
        }
        var own = limitKeys
        if case .entry = key { own = LimitSettings.entryKeys }
        if case .entry = key, draft.hosts?.isEmpty == false {
            throw Problem.invalid("/mx", "unknown", "says nothing in [\(key)]")
        }
        for name in allKeys {
            guard let value = body.take(name) else { continue }
            let isOwn = own.contains { $0.isSame(octets: name) }
            guard isOwn || value == .null else {
                throw Problem.invalid("/\(name)", "unknown", "says nothing in [\(key)]")
            }
            guard isOwn else { continue }
            draft.values[name] = .some(
                try text(value, "/\(name)", atMost: name == LimitTerms.Key.warmup.rawValue ? 2048 : 64)
            )
        }
        try body.finish()
        return draft
    }

    /// A value as the file has it; nil takes the key away.
    private static func text(_ value: JSON, _ pointer: String, atMost limit: Int) throws(Problem) -> String? {
        switch value {
        case .null: return nil
        case .integer(let number): return "\(number)"
        case .string(let text):
            try JSONObject.check(text, pointer, atMost: limit)
            return text
        default: throw Problem.invalid(pointer, "type", "must be a string or a number, not \(value.kind)")
        }
    }
}

// LimitSettings.swift — `limits.ini` into rules, and rules into `limits.ini`.

package import Mail

/// The syntax of `limits.ini`.
package enum LimitSettings {
    /// The file's name in the configuration directory.
    package static let file = "limits.ini"

    /// What may stand in a section of a kind, but for `mx`.
    ///
    /// Sessions belong to lanes: what is about the mail of a sender or a user says nothing of them.
    static func keys(_ scope: LimitScope) -> [LimitTerms.Key] {
        switch scope {
        case .sender, .senderTo, .user, .tag: [.rate, .daily, .recipients]
        case .source: LimitTerms.Key.written
        case .all, .provider, .providerFrom, .lane, .laneFrom, .route, .domain, .warmup:
            LimitTerms.Key.written.filter { $0 != .warmup && !$0.isManner }
        }
    }

    /// Reads all rules.
    ///
    /// - Parameter isKind: whether a word is the name of a kind of reply.
    /// - Throws: all errors of the file (at most 50), each with its line.
    package static func read(
        _ document: INIDocument,
        isKind: (String) -> Bool = { FailureReason(name: $0) != nil || ReplyClass(name: $0) != nil }
    ) throws(ConfigErrors) -> LimitRules {
        var rules = LimitRules()
        var report = SectionReport(document, file: file, expecting: "[lane …]")
        for section in document.blocks where report.hasRoom {
            if let name = reactionName(section.name) {
                guard report.isFirst("reaction \(name)", section.line) else { continue }
                if let reaction = reaction(name, section, &report, isKind) { rules.add(reaction) }
                continue
            }
            if let name = entryName(section.name) {
                entry(name, section, &report, into: &rules.entries)
                continue
            }
            guard let scope = scope(section.name) else {
                report.fail(section.line, unknown(section.name))
                continue
            }
            guard report.isFirst(scope.description, section.line) else { continue }
            let errors = report.count
            var terms = LimitTerms()
            var hosts: [String] = []
            for entry in section.entries {
                do throws(ValueError) {
                    if case .provider = scope, entry.key.isSame(octets: "mx") {
                        hosts += try self.hosts(entry.value)
                    } else {
                        try read(entry.value, try key(entry.key, scope), at: "\(file):\(entry.line)", into: &terms)
                    }
                } catch {
                    report.fail(entry.line, error.reason)
                }
            }
            if report.count > errors { continue }
            if terms.origins[.per] != nil, terms.warmup == nil {
                report.fail(section.line, "[\(scope)] has per, and no warmup that it is about")
                continue
            }
            if case .provider(let name) = scope {
                guard !hosts.isEmpty else {
                    report.fail(section.line, "[\(scope)] has no mx: the hosts that its domains have in common")
                    continue
                }
                rules.add(LimitRules.Provider(name: name, hosts: hosts))
            }
            rules.add(terms, for: scope)
        }
        try report.finish()
        return rules
    }

    /// The scope of a section; nil for what may not stand in the brackets.
    package static func scope(_ name: String) -> LimitScope? {
        guard let scope = LimitScope(name), scope != .all else { return nil }
        switch scope {
        case .warmup, .providerFrom: return nil
        default: return scope
        }
    }

    private static func key(_ name: String, _ scope: LimitScope) throws(ValueError) -> LimitTerms.Key {
        let keys = keys(scope)
        if let key = keys.first(where: { $0.rawValue.isSame(octets: name) }) { return key }
        if LimitTerms.Key.written.contains(where: { $0.rawValue.isSame(octets: name) }) {
            guard !["warmup", "per", "overflow"].contains(where: { name.isSame(octets: $0) }) else {
                throw ValueError(
                    "\(name) says nothing in [\(scope.word) …]: it is about [source …], an address of ours"
                )
            }
            throw ValueError("\(name) says nothing in [\(scope.word) …]: sessions belong to next hops, not to mail")
        }
        var names = keys.map(\.rawValue)
        if case .provider = scope { names.append("mx") }
        throw ValueError("unknown key \(ValueParsing.shown(name))\(NearestName.hint(for: name, among: names))")
    }

    /// Reads one value.
    static func read(
        _ text: String,
        _ key: LimitTerms.Key,
        at origin: String,
        into terms: inout LimitTerms
    ) throws(ValueError) {
        terms.origins[key] = origin
        if text.isSame(octets: "none") {
            terms.lifted.insert(key)
            return
        }
        switch key {
        case .connections: terms.connections = try ValueParsing.count(text, 1...100_000)
        case .perConnection: terms.perConnection = try ValueParsing.count(text, 1...1_000_000)
        case .newConnections: terms.newConnections = try rate(text)
        case .rate: terms.rate = try rate(text)
        case .daily: terms.daily = try count(text)
        case .recipients: terms.recipients = try ValueParsing.count(text, 1...100_000)
        case .warmup: terms.warmup = try warmup(text, per: terms.per)
        case .per:
            guard let per = Warmup.Per(rawValue: text) else {
                throw ValueError("\"\(ValueParsing.shown(text))\" is neither provider nor all")
            }
            terms.per = per
            terms.warmup?.per = per
        case .overflow:
            guard let overflow = LimitTerms.Overflow(rawValue: text) else {
                throw ValueError("\"\(ValueParsing.shown(text))\" is neither pool nor wait")
            }
            terms.overflow = overflow
        case .otherSource: break
        }
    }

    /// `20/m`, `1k/h`, `100/10s`, `20/m burst 5`.
    static func rate(_ text: String) throws(ValueError) -> Rate {
        let words = text.words.map(String.init)
        let parts = (words.first ?? "").split(octet: "/", omittingEmpty: false).map { String($0) }
        let complaint = ValueError(
            "\"\(ValueParsing.shown(text))\" is not a rate such as 20/m, 5/s, 1k/h or 20/m burst 5"
        )
        guard parts.count == 2, words.count == 1 || words.count == 3 && words[1].isSame(octets: "burst") else {
            throw complaint
        }
        var burst: Int?
        if words.count == 3 { burst = try count(words[2]) }
        let unit = parts[1].lowercasedASCII
        let isBare = unit.utf8.first.map { !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ?? true
        guard !unit.isEmpty, let number = try? count(parts[0]),
            let seconds = try? ValueParsing.duration(isBare ? "1\(unit)" : unit, 1...86_400),
            let rate = Rate(number, per: Int64(seconds) * 1000, burst: burst)
        else { throw complaint }
        return rate
    }

    /// `50, 100, 200, 500, 1k`, and `/day` behind it for whoever likes it.
    private static func warmup(_ text: String, per: Warmup.Per?) throws(ValueError) -> Warmup {
        let octets = text.lowercasedASCII
        let list = octets.ends(withOctets: "/day") ? String(octets.utf8.dropLast(4)) ?? "" : octets
        var steps: [Int] = []
        for piece in ValueParsing.list(list) { steps.append(try count(String(piece))) }
        guard let warmup = Warmup(steps, per: per ?? .provider) else {
            throw ValueError(
                "\"\(ValueParsing.shown(text))\" is not the messages of one to 365 days, such as 50, 100, 200, 500, 1k"
            )
        }
        return warmup
    }

    /// `5000`, `5k`, `2m`.
    static func count(_ text: String) throws(ValueError) -> Int {
        let factor = ["k": 1000, "m": 1_000_000][text.utf8.last.map { String(UnicodeScalar($0 | 0x20)) } ?? ""]
        let digits = factor == nil ? text[...] : Substring(text.utf8.dropLast())
        guard let number = ValueParsing.digits(digits), number <= 1_000_000_000,
            (1...1_000_000_000).contains(number * (factor ?? 1))
        else { throw ValueError("\"\(ValueParsing.shown(text))\" is not a number such as 5000, 5k or 2m") }
        return number * (factor ?? 1)
    }

    private static func hosts(_ text: String) throws(ValueError) -> [String] {
        var hosts: [String] = []
        for piece in ValueParsing.list(text) {
            let below = piece.rest(behind: "*.")
            guard let domain = Domain(below ?? piece), domain.literal == nil else {
                throw ValueError(
                    "\"\(ValueParsing.shown(piece))\" is neither a host such as mx.example.org nor *.example.org"
                )
            }
            hosts.append(below == nil ? domain.name : "*.\(domain.name)")
        }
        guard !hosts.isEmpty else { throw ValueError("mx names no host") }
        return hosts
    }

    static func unknown(_ name: String) -> String {
        "[\(ValueParsing.shown(name))] is not provider, lane, route, source, domain, sender or user with what it should be; "
            + "for example [provider google], [lane *], [source 192.0.2.1], [domain example.org], [user app]"
    }
}

/// A section of `limits.ini` as the API shows it.
package struct LimitEntry: Hashable, Sendable {
    package let scope: LimitScope
    /// Of a provider.
    package let hosts: [String]
    /// The keys that it has, as they are written.
    package let values: [LimitTerms.Key: String]
    /// Of the section, counted from 1; 0 for one that is not in the file yet.
    package let line: Int

    package init(scope: LimitScope, hosts: [String] = [], values: [LimitTerms.Key: String], line: Int = 0) {
        self.scope = scope
        self.hosts = hosts
        self.values = values
        self.line = line
    }
}

extension LimitSettings {
    /// The sections that a file has, in their order; those that are not understood are left out.
    package static func entries(in document: INIDocument) -> [LimitEntry] {
        document.blocks.compactMap { block in
            guard let scope = scope(block.name) else { return nil }
            var values: [LimitTerms.Key: String] = [:]
            for entry in block.entries {
                if let key = LimitTerms.Key(rawValue: entry.key), key != .otherSource { values[key] = entry.value }
            }
            let hosts = block.entries.filter { $0.key.isSame(octets: "mx") }
                .flatMap { ValueParsing.list($0.value).map(String.init) }
            return LimitEntry(scope: scope, hosts: hosts, values: values, line: block.line)
        }
    }

    /// What is in force, where the file cannot be shown; in no order of a file.
    package static func entries(of rules: LimitRules) -> [LimitEntry] {
        rules.rules.map { scope, terms in
            var values: [LimitTerms.Key: String] = [:]
            for key in LimitTerms.Key.written {
                values[key] = terms.text(key) ?? (terms.lifted.contains(key) ? "none" : nil)
            }
            let hosts = rules.providers.first { scope == .provider($0.name) }?.hosts ?? []
            return LimitEntry(scope: scope, hosts: hosts, values: values)
        }.sorted { $0.scope.description < $1.scope.description }
    }

    /// Writes a section, new or changed.
    ///
    /// - Throws: for what cannot be said in the file.
    package static func put(_ entry: LimitEntry, in document: inout INIDocument) throws(ConfigError) {
        let name = entry.scope.description
        let section = document.sections.first { scope($0) == entry.scope } ?? name
        let hosts = entry.hosts.joined(separator: ", ")
        try document.set("mx", toAll: hosts.isEmpty ? [] : [hosts], in: section)
        for key in LimitTerms.Key.written {
            try document.set(key.rawValue, toAll: entry.values[key].map { [$0] } ?? [], in: section)
        }
    }

    /// Takes a section away.
    ///
    /// - Returns: false when there is none.
    package static func remove(_ scope: LimitScope, in document: inout INIDocument) -> Bool {
        guard let section = document.sections.first(where: { self.scope($0) == scope }) else { return false }
        document.removeSection(section)
        return true
    }
}

// ArchiveSettings.swift — `archive.ini`, typed: of whose mail an archive gets a copy, where it goes, and in which form.
//
// A message gets one copy, however many recipients it has and however many sections fit: the copy goes to every archive
// that one of these names. What else they say is said by the first of them, but that a copy is required, which each may say.

package import Mail

/// `archive.ini`.
package struct ArchiveSettings: Hashable, Sendable {
    /// What a copy looks like.
    package enum Form: String, Hashable, Sendable, CaseIterable {
        /// A report that names the envelope, with the message attached as it is.
        case journal
        /// The message with the envelope in fields in front.
        case headers
    }

    /// A section.
    package struct Rule: Hashable, Sendable {
        /// What stands in the brackets.
        package let name: String
        /// `to`: where the copy goes.
        package internal(set) var archives: [EmailAddress] = []
        /// `for`: mail that came in so; empty: all.
        package internal(set) var ways: [Whose] = []
        /// `form`.
        package internal(set) var form = Form.journal
        /// `from`: the copy's envelope sender.
        package internal(set) var sender = ReversePath.null
        /// `required`: a message is not taken without its copy.
        package internal(set) var isRequired = false
        /// `senders`, `recipients`; nil: any.
        var senders: PatternTable<Bool>?
        var recipients: PatternTable<Bool>?

        init(_ name: String) { self.name = name }

        /// Whether it asks for a copy.
        func fits(_ envelope: Envelope, _ way: WayIn, _ listeners: ListenerSettings) -> Bool {
            guard ways.isEmpty || ways.contains(where: { $0.means(way, listeners) }) else { return false }
            if let senders, senders.find(envelope.sender) == nil { return false }
            guard let recipients else { return true }
            return envelope.recipients.contains { recipients.find($0.address) != nil }
        }
    }

    /// What a message's copy is to be.
    package struct Decision: Hashable, Sendable {
        /// The sections that fit, in the order of the file.
        package let names: [String]
        /// Each once.
        package let archives: [EmailAddress]
        package let form: Form
        package let sender: ReversePath
        package let isRequired: Bool
    }

    /// In the order of the file.
    package internal(set) var rules: [Rule] = []

    package init() {}

    package var isEmpty: Bool { rules.isEmpty }

    /// The copy that a message gets; nil: none.
    ///
    /// Mail for archives alone gets none: it may be a copy that comes back.
    package func decision(
        for envelope: Envelope,
        _ way: WayIn,
        _ listeners: ListenerSettings
    ) -> Decision? {
        let fitting = rules.filter { $0.fits(envelope, way, listeners) }
        guard let first = fitting.first, !envelope.recipients.allSatisfy({ isArchive($0.address) }) else { return nil }
        var archives: [EmailAddress] = []
        for address in fitting.flatMap(\.archives) where !archives.contains(address) { archives.append(address) }
        return Decision(
            names: fitting.map(\.name),
            archives: archives,
            form: first.form,
            sender: first.sender,
            isRequired: fitting.contains(where: \.isRequired)
        )
    }

    private func isArchive(_ address: EmailAddress) -> Bool {
        let key = AddressPattern.key(address)
        return rules.contains { $0.archives.contains { AddressPattern.key($0) == key } }
    }
}

// MARK: - Reading

extension ArchiveSettings {
    /// The file's name in the configuration directory.
    package static let file = "archive.ini"
    package static let keys = ["to", "for", "senders", "recipients", "form", "from", "required"]
    /// Archives of one section.
    private static let most = 10

    /// Whether a section that is made may be called so.
    package static func isName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { (0x20...0x7E).contains($0) && $0 != 0x5B && $0 != 0x5D }
            && text.trimmed.isSame(octets: text)
    }

    /// Reads the whole file.
    ///
    /// - Throws: all errors of the file (at most 50), each with its line.
    package static func read(_ document: INIDocument) throws(ConfigErrors) -> ArchiveSettings {
        var settings = ArchiveSettings()
        var report = SectionReport(document, file: file, expecting: "[NAME]")
        for section in document.blocks where report.hasRoom {
            guard report.isFirst(section.name, section.line) else { continue }
            let errors = report.count
            var rule = Rule(ValueParsing.shown(section.name))
            var seen: Set<String> = []
            for entry in section.entries {
                do throws(ValueError) {
                    guard seen.insert(entry.key).inserted else { throw ValueError("\(entry.key) stands here already") }
                    try rule.take(entry.key, entry.value)
                } catch {
                    report.fail(entry.line, error.reason)
                }
            }
            if report.count > errors { continue }
            if rule.archives.isEmpty {
                report.fail(section.line, "[\(rule.name)] has no to: the address of the archive")
            } else {
                settings.rules.append(rule)
            }
        }
        try report.finish()
        return settings
    }

    fileprivate static func unknown(_ key: String) -> ValueError {
        ValueError("unknown key \(ValueParsing.shown(key))\(NearestName.hint(for: key, among: keys))")
    }

    fileprivate static func addresses(_ text: String) throws(ValueError) -> [EmailAddress] {
        var found: [EmailAddress] = []
        for piece in ValueParsing.list(text) {
            let address = try address(piece)
            if !found.contains(address) { found.append(address) }
        }
        guard (1...most).contains(found.count) else {
            throw ValueError("to names none, or more than \(most) addresses")
        }
        return found
    }

    fileprivate static func address(_ text: some StringProtocol) throws(ValueError) -> EmailAddress {
        guard let address = EmailAddress(text), address.isASCII else {
            throw ValueError("\"\(ValueParsing.shown(text))\" is not an address such as archive@example.org")
        }
        return address
    }

    fileprivate static func patterns(_ text: String) throws(ValueError) -> PatternTable<Bool>? {
        let pieces = ValueParsing.list(text)
        guard !pieces.isEmpty else { return nil }
        var table = PatternTable<Bool>()
        for piece in pieces {
            table[piece.isSame(octets: "<>") ? .null : try AddressPattern(word: piece)] = true
        }
        return table
    }

    fileprivate static func ways(_ text: String) throws(ValueError) -> [Whose] {
        var found: [Whose] = []
        for piece in text.split(octet: ",") {
            guard let whose = Whose(piece), whose != .all else {
                throw ValueError(
                    "\"\(ValueParsing.shown(piece))\" is none of listener NAME, client 10.0.0.0/8 and login NAME"
                )
            }
            found.append(whose)
        }
        return found
    }
}

extension ArchiveSettings.Rule {
    fileprivate mutating func take(_ key: String, _ value: String) throws(ValueError) {
        switch key {
        case "to": archives = try ArchiveSettings.addresses(value)
        case "for": ways = try ArchiveSettings.ways(value)
        case "senders": senders = try ArchiveSettings.patterns(value)
        case "recipients": recipients = try ArchiveSettings.patterns(value)
        case "form":
            guard let word = ArchiveSettings.Form(rawValue: value) else {
                throw ValueError("form: \"\(ValueParsing.shown(value))\" is neither journal nor headers")
            }
            form = word
        case "from":
            sender = value.isEmpty || value.isSame(octets: "<>") ? .null : .address(try ArchiveSettings.address(value))
        case "required": isRequired = try ValueParsing.boolean(value)
        default: throw ArchiveSettings.unknown(key)
        }
    }
}

// Staging.swift — `[staging]` of `rewrite.ini`: mail that goes nowhere real, because it comes from a system that only tries things
// out. Pure.

package import Mail

/// One section `[staging]`, `[staging listener NAME]`, `[staging client NETWORK]`, `[staging login NAME]`.
package struct Staging: Hashable, Sendable {
    /// What becomes of the mail.
    package enum Target: Hashable, Sendable {
        /// `redirect`: all of it goes there, and to nobody else.
        case redirect(EmailAddress)
        /// `sink`: it is taken, and nobody gets it.
        case sink
    }

    package let whose: Whose
    package let target: Target
    /// `senders`: domains whose mail is meant; empty: everybody's.
    package let senders: Set<Domain>
    /// `rewrite.ini:12`.
    package let origin: String

    /// The section that decides about a message: the one for the fewest, and of two alike the one that names senders.
    package static func section(
        of sections: [Staging],
        for way: WayIn,
        from sender: ReversePath,
        _ listeners: ListenerSettings
    ) -> Staging? {
        if sections.isEmpty { return nil }
        var domain: Domain?
        if case .address(let address) = sender { domain = address.domain }
        return sections.filter { section in
            guard section.whose.means(way, listeners) else { return false }
            return section.senders.isEmpty || domain.map(section.senders.contains) ?? false
        }.max { a, b in
            (a.whose.weight, a.senders.isEmpty ? 0 : 1) < (b.whose.weight, b.senders.isEmpty ? 0 : 1)
        }
    }
}

// MARK: - Reading

extension Staging {
    /// The first word in the brackets.
    static let word = "staging"
    /// The keys of a section.
    package static let keys = ["redirect", "sink", "senders"]

    /// The name of the section for some mail, as it is written.
    package static func section(of whose: Whose) -> String {
        whose == .all ? word : "\(word) \(whose)"
    }

    /// The same for a name in a file; nil: it is another section.
    package static func section(_ name: String) -> String? { whose(name).map { section(of: $0) } }

    /// Whose mail a section is about; nil: it is another one.
    static func whose(_ name: some StringProtocol) -> Whose? {
        let words = name.words
        guard let first = words.first, first.isSame(octets: word) else { return nil }
        return Whose(words.dropFirst().joined(separator: " "))
    }

    /// Reads a section.
    ///
    /// - Returns: nil when something is wrong with it, which the report learns.
    static func read(_ block: INIDocument.Block, _ whose: Whose, _ report: inout SectionReport) -> Staging? {
        var (targets, senders): ([Target], Set<Domain>) = ([], [])
        let errors = report.count
        for entry in block.entries {
            do throws(ValueError) {
                switch entry.key {
                case "redirect":
                    guard let address = EmailAddress(entry.value), address.isASCII else {
                        throw ValueError("redirect: \"\(ValueParsing.shown(entry.value))\" is no address in ASCII")
                    }
                    targets.append(.redirect(address))
                case "sink": if try ValueParsing.boolean(entry.value) { targets.append(.sink) }
                case "senders": senders = try ListenerSettings.domains(entry.value)
                default:
                    throw ValueError(
                        "unknown key \(ValueParsing.shown(entry.key))\(NearestName.hint(for: entry.key, among: keys))"
                    )
                }
            } catch {
                report.fail(entry.line, error.reason)
            }
        }
        guard report.count == errors else { return nil }
        guard targets.count == 1, let target = targets.first else {
            // Half understood it would send to real people.
            report.fail(block.line, "[\(ValueParsing.shown(block.name))] needs redirect = ADDRESS, or sink = true")
            return nil
        }
        return Staging(whose: whose, target: target, senders: senders, origin: "\(Rewriting.file):\(block.line)")
    }
}

// AddressList.swift — the mailboxes in a header field, on a command line or in a member of JSON: one parser for all of them.
//
// RFC 5322 §3.4 with the obsolete forms of §4.4 (source routes, blanks and comments around dots, empty members) and UTF-8
// (RFC 6532): names, comments and groups are understood and passed over, quoted strings and address literals are taken
// whole. What cannot be read is a fault of the list and never half an address.

package import Mail

/// A list of mailboxes, read.
package struct AddressList: Sendable {
    /// One member of the list.
    package struct Entry: Hashable, Sendable {
        /// The name in front of `<…>`, without its quotes; empty when there is none.
        package let name: String
        /// The part before the @ as it stands in an address: quoted where it has to be; nil when it cannot be one.
        package let local: String?
        /// nil when there is no @: somebody on this machine.
        package let domain: Domain?
        /// It stood in `<…>`.
        package let isBracketed: Bool
        /// Where the address stands, counted from the first octet of what was read; without its brackets.
        let place: Range<Int>
        /// Where its domain stands, likewise; empty without one.
        let domainPlace: Range<Int>

        /// The complete address; nil without a domain or a local part.
        package var address: EmailAddress? {
            guard let local, let domain else { return nil }
            return EmailAddress(local: local, domain: domain)
        }

        /// The complete address, of somebody on this machine when it has no domain.
        ///
        /// - Parameter here: this machine; nil: an address without a domain is none.
        package func address(on here: Domain?) -> EmailAddress? {
            guard let local, let domain = domain ?? here else { return nil }
            return EmailAddress(local: local, domain: domain)
        }
    }

    /// What makes a list one that nobody should guess at.
    package enum Fault: Error, Hashable, CustomStringConvertible {
        /// No mailbox where one should be, as it was read: `John Doe a@b`.
        case noAddress(String)
        /// A quote, comment, bracket or address literal that does not end.
        case unterminated(Character)
        /// Octets that are no UTF-8, or a control character, in the name of the only mailbox.
        case badText

        package var description: String {
            switch self {
            case .noAddress(let text): "\"\(HarmlessText.line(text, limit: 100))\" is no address"
            case .unterminated(let mark): "\(mark) is not closed"
            case .badText: "holds a control character or is no UTF-8"
            }
        }
    }

    package private(set) var entries: [Entry] = []
    /// The first one; the entries are those that could be read all the same.
    package private(set) var fault: Fault?

    /// Reads the list in a field's value or a word.
    package init(_ text: some Sequence<UInt8>) {
        var lexer = AddressLexer(text, keepsComments: false)
        read(lexer.tokens(), isOne: false)
        fault = lexer.fault ?? fault
    }

    /// Reads `Name <address>` or `address`, where there can be only one: what separates or comments in a list is part of
    /// the name.
    package init(one text: some Sequence<UInt8>) {
        var lexer = AddressLexer(text, keepsComments: true)
        let tokens = lexer.tokens()
        read(tokens, isOne: true)
        if tokens.contains(where: \.isBad) { note(.badText) }
        fault = lexer.fault ?? fault
    }

    private mutating func read(_ tokens: [AddressToken], isOne: Bool) {
        var member = Member()
        for token in tokens {
            switch token.mark {
            case UInt8(ascii: ">") where member.isOpen: member.isOpen = false
            case _ where member.isOpen: member.inside?.append(token)
            case UInt8(ascii: "<") where member.inside == nil:
                member.isOpen = true
                member.inside = []
            case UInt8(ascii: ","), UInt8(ascii: ";"):
                guard isOne else {
                    end(&member)
                    continue
                }
                // Two addresses where one is expected: nobody is taken for a part of somebody's name.
                if !member.isName { note(.noAddress(AddressToken.text(of: tokens))) }
                member.outside.append(token)
            // The name of a group; its members follow.
            case UInt8(ascii: ":") where !isOne && member.isName: member = Member()
            default: member.outside.append(token)
            }
        }
        if member.isOpen { note(.unterminated("<")) }
        end(&member)
    }

    private mutating func note(_ fault: Fault) { self.fault = self.fault ?? fault }

    /// One member is complete.
    private mutating func end(_ member: inout Member) {
        defer { member = Member() }
        let (outside, inside) = (member.outside, member.inside)
        // Members may be empty: `a@x, , b@x`.
        if inside == nil, outside.isEmpty { return }
        let spelling = AddressToken.text(of: outside) + (inside.map { " <\(AddressToken.text(of: $0))>" } ?? "")
        let isClean = inside == nil || !member.hasTrailer
        guard let spec = AddressSpec(inside.map(Self.withoutRoute) ?? outside) else {
            return note(.noAddress(spelling))
        }
        if spec.local == nil || !isClean { note(.noAddress(spelling)) }
        let name = inside == nil ? "" : AddressToken.text(of: outside)
        let tokens = inside ?? outside
        entries.append(
            Entry(
                name: name,
                local: spec.local,
                domain: spec.domain,
                isBracketed: inside != nil,
                place: Self.place(of: tokens[...]),
                domainPlace: spec.domain == nil ? 0..<0 : Self.place(of: tokens[spec.domainIndex(in: tokens)...])
            )
        )
    }

    /// From the first octet of these tokens to the last one.
    private static func place(of tokens: ArraySlice<AddressToken>) -> Range<Int> {
        (tokens.first?.place.lowerBound ?? 0)..<(tokens.last?.place.upperBound ?? 0)
    }

    /// `@a.example,@b.example:local@domain` → `local@domain` (RFC 5322 §4.4).
    private static func withoutRoute(_ tokens: [AddressToken]) -> [AddressToken] {
        guard tokens.first?.mark == UInt8(ascii: "@"),
            let colon = tokens.firstIndex(where: { $0.mark == UInt8(ascii: ":") })
        else { return tokens }
        return Array(tokens[(colon + 1)...])
    }
}

/// A member of a list while it is read.
private struct Member {
    var outside: [AddressToken] = [] {
        didSet { if inside != nil { hasTrailer = true } }
    }
    /// What stands in `<…>`.
    var inside: [AddressToken]?
    var isOpen = false
    /// Words stand behind `<…>`.
    private(set) var hasTrailer = false

    /// So far it may be a group's name.
    var isName: Bool {
        inside == nil && !outside.isEmpty && !outside.contains { $0.mark == UInt8(ascii: "@") }
    }
}

/// `local@domain` or `local`, from tokens.
private struct AddressSpec {
    /// nil when it is none that an address can have.
    let local: String?
    let domain: Domain?

    /// - Returns: nil when there is nothing in it that is an address.
    init?(_ tokens: [AddressToken]) {
        let at = tokens.lastIndex { $0.mark == UInt8(ascii: "@") }
        local = Self.local(Array(tokens[..<(at ?? tokens.endIndex)]))
        guard let at else {
            domain = nil
            guard local != nil else { return nil }
            return
        }
        guard let domain = Self.domain(tokens[(at + 1)...]) else { return nil }
        self.domain = domain
    }

    /// Where the domain's tokens begin.
    func domainIndex(in tokens: [AddressToken]) -> Int {
        tokens.lastIndex { $0.mark == UInt8(ascii: "@") }.map { $0 + 1 } ?? tokens.endIndex
    }

    /// Words with dots between them; blanks may stand around the dots.
    private static func local(_ tokens: [AddressToken]) -> String? {
        var text = ""
        var isQuoted = false
        var wantsWord = true
        for token in tokens {
            guard !token.isBad else { return nil }
            switch token.kind {
            case .mark(UInt8(ascii: ".")):
                text += "."
                wantsWord = true
                continue
            case .atom(let word), .quoted(let word):
                guard wantsWord else { return nil }
                text += word
                wantsWord = false
            case .mark, .literal: return nil
            }
            if case .quoted = token.kind { isQuoted = true }
        }
        if isQuoted {
            let escaped = text.unicodeScalars.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : String($0) }
            text = "\"\(escaped.joined())\""
        }
        return EmailAddress("\(text)@localhost")?.local
    }

    private static func domain(_ tokens: ArraySlice<AddressToken>) -> Domain? {
        if let only = tokens.first, tokens.count == 1, case .literal(let text) = only.kind { return Domain(text) }
        var text = ""
        var wantsWord = true
        for token in tokens {
            switch token.kind {
            case .mark(UInt8(ascii: ".")):
                text += "."
                wantsWord = true
            case .atom(let word):
                guard wantsWord else { return nil }
                text += word
                wantsWord = false
            case .mark, .literal, .quoted: return nil
            }
        }
        return Domain(text)
    }
}

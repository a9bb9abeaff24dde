// AddressPattern.swift — what may stand in the brackets of `routes.ini` and `outbound_ip.ini`, and how it is found.
//
// The most specific pattern wins: the address, its domain, the longest `*.suffix`, `*`.

import Mail

/// A pattern for mail addresses.
enum AddressPattern: Hashable, Sendable, CustomStringConvertible {
    /// The null sender, `<>`.
    case null
    /// `user@domain` in lower case: nobody gives two people mailboxes that differ in case alone.
    case address(EmailAddress)
    case domain(String)
    /// `*.example.com`: every domain below `example.com`, not that one itself.
    case suffix(String)
    case any

    /// Reads `<>`, `user@domain`, `domain`, `*.suffix` or `*`.
    init?(_ text: some StringProtocol) {
        if text == "<>" {
            self = .null
        } else if text == "*" {
            self = .any
        } else if text.utf8.contains(UInt8(ascii: "@")) {
            guard let address = EmailAddress(text) else { return nil }
            self = .address(Self.key(address))
        } else if text.utf8.starts(with: "*.".utf8) {
            guard let domain = Domain(text.dropFirst(2)), domain.literal == nil else { return nil }
            self = .suffix(domain.name)
        } else {
            guard let domain = Domain(text) else { return nil }
            self = .domain(domain.name)
        }
    }

    /// Reads `ann@example.org`, `@example.org`, `.example.org` or `*`, as `rewrite.ini` and `archive.ini` have them.
    ///
    /// - Throws: what is wrong with it, as a sentence.
    init(word text: some StringProtocol) throws(ValueError) {
        let found: AddressPattern?
        if let domain = text.rest(behind: "@") {
            found = Domain(domain).map { .domain($0.name) }
        } else if let suffix = text.rest(behind: ".") {
            found = Domain(suffix).flatMap { $0.literal == nil ? .suffix($0.name) : nil }
        } else if text.isSame(octets: "*") {
            found = .any
        } else {
            found = EmailAddress(text).map { .address(Self.key($0)) }
        }
        guard let found else {
            throw ValueError(
                "\"\(ValueParsing.shown(text))\" is none of ann@example.org, @example.org, .example.org and *"
            )
        }
        self = found
    }

    /// As ``init(word:)`` reads it, in normal form.
    var word: String {
        switch self {
        case .domain(let name): "@\(name)"
        case .suffix(let name): ".\(name)"
        case .address, .any, .null: description
        }
    }

    /// As it stands in the brackets, in normal form.
    var description: String {
        switch self {
        case .null: "<>"
        case .address(let address): address.description
        case .domain(let name): name
        case .suffix(let name): "*.\(name)"
        case .any: "*"
        }
    }

    static func key(_ address: EmailAddress) -> EmailAddress {
        EmailAddress(local: address.local.lowercasedASCII, domain: address.domain)
    }

    /// Every pattern but `*` that a path fits, the most specific first.
    ///
    /// - Parameter table: kinds that it has none of are left out; nil: none are.
    static func trail<Value>(_ path: ReversePath, with table: PatternTable<Value>?) -> [AddressPattern] {
        guard case .address(let address) = path else { return [.null] }
        var patterns: [AddressPattern] = []
        if table?.hasAddresses ?? true { patterns.append(.address(key(address))) }
        if table?.hasDomains ?? true { patterns.append(.domain(address.domain.name)) }
        guard table?.hasSuffixes ?? true else { return patterns }
        var domain = address.domain.parent
        while let suffix = domain {
            patterns.append(.suffix(suffix.name))
            domain = suffix.parent
        }
        return patterns
    }
}

/// Values by pattern.
struct PatternTable<Value: Hashable & Sendable>: Hashable, Sendable {
    private var null: Value?
    private var byAddress = LayeredTable<EmailAddress, Value>()
    private var byDomain = LayeredTable<String, Value>()
    private var bySuffix = LayeredTable<String, Value>()
    private var any: Value?

    subscript(pattern: AddressPattern) -> Value? {
        get {
            switch pattern {
            case .null: null
            case .address(let key): byAddress[key]
            case .domain(let name): byDomain[name]
            case .suffix(let name): bySuffix[name]
            case .any: any
            }
        }
        set {
            switch pattern {
            case .null: null = newValue
            case .address(let key): byAddress[key] = newValue
            case .domain(let name): byDomain[name] = newValue
            case .suffix(let name): bySuffix[name] = newValue
            case .any: any = newValue
            }
        }
    }

    var hasAddresses: Bool { !byAddress.isEmpty }
    var hasDomains: Bool { !byDomain.isEmpty }
    var hasSuffixes: Bool { !bySuffix.isEmpty }

    var isEmpty: Bool {
        null == nil && any == nil && byAddress.isEmpty && byDomain.isEmpty && bySuffix.isEmpty
    }

    /// Every value.
    var values: [Value] {
        [null, any].compactMap(\.self) + byAddress.values + byDomain.values + bySuffix.values
    }

    /// The values at all patterns where another table may have another one.
    func values(whereUnlike other: PatternTable) -> [Value] {
        [null, any].compactMap(\.self) + byAddress.values(whereUnlike: other.byAddress)
            + byDomain.values(whereUnlike: other.byDomain) + bySuffix.values(whereUnlike: other.bySuffix)
    }

    /// Everything is there: from now on copies share it, and differ in little.
    mutating func settle() {
        byAddress.settle()
        byDomain.settle()
        bySuffix.settle()
    }

    /// The value of the most specific pattern that fits.
    func find(_ path: ReversePath) -> Value? {
        switch path {
        case .null: null ?? any
        case .address(let address): find(address)
        }
    }

    /// The value of the most specific pattern that fits.
    func find(_ address: EmailAddress) -> Value? {
        if !byAddress.isEmpty, let value = byAddress[AddressPattern.key(address)] { return value }
        if let value = byDomain[address.domain.name] { return value }
        guard !bySuffix.isEmpty else { return any }
        var domain = address.domain.parent
        while let suffix = domain {
            if let value = bySuffix[suffix.name] { return value }
            domain = suffix.parent
        }
        return any
    }
}

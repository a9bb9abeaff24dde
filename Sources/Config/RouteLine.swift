// RouteLine.swift — one line of a section of `routes.ini`, read.
//
// Guarantees: nothing of a line is left out without a word: a comma, a blank or a comment that a password may have been
// meant to hold is an error with the way out of it. No error shows a word of a line that holds a secret.

import Mail

/// What a line says.
enum RouteLine {
    case hosts([RouteSection.Host])
    case property(RouteProperty, String)
    case direct(Bool)
    /// nil: `false`.
    case ending(RouteEnding?)

    /// What may stand in front of the equals sign.
    static let names = ["mx", "direct"] + RouteEnding.names + RouteProperty.allCases.map(\.rawValue)

    /// Reads a line.
    ///
    /// - Throws: ``ValueError``, which holds no secret.
    init(_ entry: INIDocument.Entry) throws(ValueError) {
        if entry.key.isSame(octets: "mx") {
            self = .hosts(try Self.hosts(entry.value, cut: entry.cut))
        } else if entry.key.isSame(octets: "direct") {
            self = .direct(try ValueParsing.boolean(entry.value))
        } else if RouteEnding.names.contains(where: { entry.key.isSame(octets: $0) }) {
            self = .ending(try RouteEnding.read(entry.key, entry.value))
        } else {
            let property = try Self.property(entry.key)
            if property.kind == .secret, !SecretReference(entry.value).isElsewhere, let cut = entry.cut {
                throw Self.loss(property.rawValue, cut)
            }
            self = .property(property, entry.value)
        }
    }

    /// A property by its name.
    ///
    /// - Throws: ``ValueError`` with a guess at what was meant.
    static func property(_ name: some StringProtocol) throws(ValueError) -> RouteProperty {
        guard let property = RouteProperty(rawValue: String(name)) else {
            throw ValueError(
                "unknown key \(ValueParsing.shown(name))\(NearestName.hint(for: String(name), among: names))"
            )
        }
        return property
    }

    /// Whether a word may stand on an `mx` line.
    static func fitsAmongOthers(_ word: some StringProtocol) -> Bool {
        !word.isEmpty
            && !word.utf8.contains { $0 <= 0x20 || $0 == 0x7F || $0 == UInt8(ascii: ",") }
            && !word.starts(withOctets: ";")
    }

    /// Hosts between commas and blanks; words hold for the hosts before them up to the last comma.
    ///
    /// - Throws: ``ValueError`` for what is no host, when there is none, and where the line may have meant another.
    private static func hosts(_ text: String, cut: INIDocument.Cut?) throws(ValueError) -> [RouteSection.Host] {
        var list = HostList(isShown: !holdsSecret(text))
        var isFirst = true
        for item in text.split(octet: ",", omittingEmpty: false) {
            if !isFirst { try list.takeComma(before: item.utf8.first) }
            isFirst = false
            for word in item.words { try list.take(word) }
        }
        guard !list.hosts.isEmpty else { throw ValueError("mx names no host") }
        if let cut { try list.finish(cut) }
        return list.hosts
    }

    /// Whether a word of a line may be a secret, or a piece of one, however the line was meant.
    private static func holdsSecret(_ text: String) -> Bool {
        text.contains(octet: "@")
            || RouteProperty.allCases.contains { $0.kind == .secret && text.contains(octets: $0.rawValue) }
    }

    /// Says that a secret would lose something.
    ///
    /// - Parameter isReferable: it could stand in a file of its own.
    static func loss(_ name: String, _ cut: INIDocument.Cut, isReferable: Bool = true) -> ValueError {
        let remedy = isReferable ? "into a file (@file:PATH)" : "as a hash (martlet passwd)"
        return switch cut {
        case .comment:
            ValueError(
                "\(name): what stands behind \" ;\" is a comment; put that on a line of its own, or, if it belongs to the"
                    + " secret, put the whole secret \(remedy)"
            )
        case .blanksBehind, .blanksBefore:
            ValueError(
                "\(name): the blanks around it would be lost; take them away, or, if they belong to the secret, put it \(remedy)"
            )
        }
    }
}

/// The hosts of a line while its words are read.
private struct HostList {
    private enum Word {
        case host(RouteSection.Host)
        case property(RouteProperty, isPlainSecret: Bool)
    }

    /// False when no word may be shown.
    let isShown: Bool
    private(set) var hosts: [RouteSection.Host] = []
    /// Hosts before this one are behind a comma.
    private var first = 0
    /// The last word since the last comma.
    private var last: Word?

    init(isShown: Bool) { self.isShown = isShown }

    mutating func take(_ word: Substring) throws(ValueError) {
        if let equals = word.firstIndex(ofOctet: "=") {
            let property = try RouteLine.property(word[..<equals])
            let value = String(word.utf8[word.utf8.index(after: equals)...]) ?? ""
            guard first < hosts.count else {
                throw ValueError("\(isShown ? ValueParsing.shown(word) : property.rawValue) comes before its host")
            }
            for index in first..<hosts.count { hosts[index].words[property] = value }
            last = .property(property, isPlainSecret: property.kind == .secret && !SecretReference(value).isElsewhere)
            return
        }
        switch last {
        case .property(let property, _):
            throw ValueError(
                "what follows \(property.rawValue) is no name=value: a comma and a blank come before the next host; a value"
                    + " with a blank stands on a line of its own or in a file (\(property.rawValue)=@file:PATH)"
            )
        case .host(let host) where host.mx.isSocket:
            throw ValueError("what follows a path is no name=value: each socket has a line of its own, and no blank")
        case .host, nil: break
        }
        guard let host = RouteSection.Host(String(word)) else {
            let shown =
                isShown
                ? "\"\(ValueParsing.shown(word))\"" : "a word that is not shown here, for the secret on its line,"
            let hint = isShown ? Self.withoutBrackets(word) : ""
            throw ValueError(
                "\(shown) is not host, host:port, ip, ip:port, [v6]:port, a socket's path, https+graph: or https+ses:REGION\(hint)"
            )
        }
        hosts.append(host)
        last = .host(host)
    }

    /// What to write for `[host]:587`, which is how Postfix says that a host is not asked for its MX: never done here.
    private static func withoutBrackets(_ word: Substring) -> String {
        guard let rest = word.rest(behind: "["), let end = rest.firstIndex(ofOctet: "]") else { return "" }
        let place = "\(rest[..<end])\(rest[rest.utf8.index(after: end)...])"
        guard RouteSection.Host(place) != nil else { return "" }
        return "; a name stands without brackets: \(ValueParsing.shown(place))"
    }

    /// - Parameter octet: what stands behind the comma; nil at the end of the line.
    mutating func takeComma(before octet: UInt8?) throws(ValueError) {
        defer { (first, last) = (hosts.count, nil) }
        if octet == UInt8(ascii: " ") || octet == UInt8(ascii: "\t") { return }
        switch last {
        case .property(let property, _) where property.kind == .text || property.kind == .secret:
            throw ValueError(
                "a comma stands in or right behind \(property.rawValue): with a blank behind it, it begins the next host; a value"
                    + " with a comma stands on a line of its own or in a file (\(property.rawValue)=@file:PATH)"
            )
        case .host(let host) where host.mx.isSocket:
            throw ValueError(
                "a comma stands in or right behind a path: each socket has a line of its own, and no comma"
            )
        case .property, .host, nil: return
        }
    }

    /// Refuses a line whose last word may have lost something.
    func finish(_ cut: INIDocument.Cut) throws(ValueError) {
        switch last {
        case .property(let property, isPlainSecret: true) where cut != .blanksBefore:
            throw RouteLine.loss(property.rawValue, cut)
        case .host(let host) where cut == .comment && host.place.contains(octets: "://"):
            throw RouteLine.loss("mx", cut)
        case .property, .host, nil: return
        }
    }
}

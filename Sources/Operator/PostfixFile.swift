// PostfixFile.swift — the syntax of Postfix's files: logical lines, parameters with their variables, lookup tables.
//
// Guarantees: bounded in what a variable may grow to, whatever refers to what.
// Source: postconf(5), master(5), postmap(1)

import Mail

/// A logical line and the number of its first physical one, counted from 1.
struct PostfixLine: Hashable {
    let number: Int
    let text: String

    /// Lines that begin with white space go on with the one before; comments and empty lines are none.
    static func all(_ text: String) -> [PostfixLine] {
        var found: [PostfixLine] = []
        let lines = text.utf8.split(octet: "\n", omittingEmpty: false)
        for (index, octets) in lines.enumerated() {
            let line = Substring(octets)
            let content = line.trimmed
            if content.isEmpty || content.starts(withOctets: "#") { continue }
            if let first = line.utf8.first, first == 0x20 || first == 0x09, let last = found.popLast() {
                found.append(PostfixLine(number: last.number, text: "\(last.text) \(content)"))
            } else {
                found.append(PostfixLine(number: index + 1, text: String(content)))
            }
        }
        return found
    }

    /// The first word and the rest, as a lookup table has key and value.
    var pair: (key: String, value: String) {
        guard let blank = text.utf8.firstIndex(where: { $0 == 0x20 || $0 == 0x09 }) else { return (text, "") }
        return (String(text[..<blank]), String(text[blank...].trimmed))
    }
}

/// `main.cf`, or what `postconf -n` prints.
struct PostfixParameters {
    /// One setting.
    struct Parameter {
        let line: Int
        let name: String
        /// As it was written.
        let raw: String
    }

    /// Every one, in the order of lines; of several with a name the last counts.
    let all: [Parameter]
    private let last: [String: Int]
    /// Lines that are no settings.
    let strange: [PostfixLine]
    private static let standard = [
        "config_directory": "/etc/postfix", "mail_name": "Postfix", "default_database_type": "hash",
        "data_directory": "/var/lib/postfix", "queue_directory": "/var/spool/postfix",
    ]
    /// Octets that a value may have once its variables are filled in.
    private static let largest = 64 << 10

    init(_ text: String) {
        var found: [Parameter] = []
        var strange: [PostfixLine] = []
        for line in PostfixLine.all(text) {
            guard let equals = line.text.firstIndex(ofOctet: "=") else {
                strange.append(line)
                continue
            }
            let name = String(line.text[..<equals].trimmed)
            let value = String(line.text[line.text.utf8.index(after: equals)...].trimmed)
            found.append(Parameter(line: line.number, name: name, raw: value))
        }
        all = found
        self.strange = strange
        last = Dictionary(found.indices.map { (found[$0].name, $0) }) { $1 }
    }

    /// Whether a later line says something else.
    func isOverruled(_ index: Int) -> Bool { last[all[index].name] != index }

    /// The value with its variables filled in; nil when nobody says it.
    subscript(name: String) -> String? {
        guard let index = last[name] else { return nil }
        return filled(all[index].raw)
    }

    /// A list between commas and blanks; empty when nobody says it.
    func words(_ name: String) -> [String] {
        (self[name] ?? "").split(octet: ",").flatMap(\.words).map(String.init)
    }

    func says(_ name: String, _ word: String) -> Bool { self[name]?.lowercasedASCII.isSame(octets: word) ?? false }

    /// Puts values in the place of `$name`, `${name}` and `$(name)`; `${name?text}` and `${name:text}` where they are simple.
    func filled(_ raw: String, depth: Int = 0) -> String {
        guard depth < 8, raw.contains(octet: "$") else { return raw }
        var result = ""
        var rest = Substring(raw)
        while let dollar = rest.firstIndex(ofOctet: "$"), result.utf8.count < Self.largest {
            result += rest[..<dollar]
            rest = rest[rest.utf8.index(after: dollar)...]
            if rest.utf8.first == UInt8(ascii: "$") {
                result += "$"
                rest = Substring(rest.utf8.dropFirst())
                continue
            }
            let closing: Unicode.Scalar? = rest.starts(withOctets: "{") ? "}" : rest.starts(withOctets: "(") ? ")" : nil
            if let closing, let end = rest.firstIndex(ofOctet: closing) {
                result += resolved(rest[..<end].dropping(octets: 1), depth)
                rest = rest[rest.utf8.index(after: end)...]
            } else {
                let name = rest.utf8.prefix { octet in
                    octet == 0x5F || (0x30...0x39).contains(octet) || (0x61...0x7A).contains(octet | 0x20)
                }
                result += resolved(Substring(name), depth)
                rest = rest[name.endIndex...]
            }
        }
        let text = result + rest
        return text.utf8.count > Self.largest ? raw : text
    }

    private func resolved(_ inner: Substring, _ depth: Int) -> String {
        if let mark = inner.utf8.firstIndex(where: { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: ":") }) {
            let isFilled = !(value(String(inner[..<mark]), depth) ?? "").isEmpty
            let wantsFilled = inner.utf8[mark] == UInt8(ascii: "?")
            return isFilled == wantsFilled
                ? filled(String(inner[inner.utf8.index(after: mark)...]), depth: depth + 1) : ""
        }
        return value(String(inner), depth) ?? ""
    }

    private func value(_ name: String, _ depth: Int) -> String? {
        if let index = last[name] { return filled(all[index].raw, depth: depth + 1) }
        if name.isSame(octets: "mydomain"), let host = value("myhostname", depth + 1) {
            return host.firstIndex(ofOctet: ".").map { String(host[host.utf8.index(after: $0)...]) } ?? host
        }
        if name.isSame(octets: "myorigin") { return value("myhostname", depth + 1) }
        return Self.standard[name]
    }
}

/// The files beside `main.cf`.
struct PostfixFiles {
    private static let home = "/etc/postfix/"
    private static let kinds = ["hash", "lmdb", "btree", "texthash", "cdb", "dbm", "sdbm"]

    let source: ImportSource

    /// A file by the path that Postfix has for it: below the directory that is imported first.
    func text(_ path: String) -> (name: String, text: String)? {
        if let name = path.rest(behind: Self.home).map(String.init) ?? (path.starts(withOctets: "/") ? nil : path) {
            if let text = source.text(name) { return (name, text) }
        }
        return source.text(path).map { (path, $0) }
    }

    func bytes(_ path: String) -> [UInt8]? {
        path.rest(behind: Self.home).flatMap { source.contents(String($0)) } ?? source.contents(path)
    }

    /// The lines of a table such as `hash:/etc/postfix/transport`.
    ///
    /// - Returns: nil when it is of a kind that cannot be read here, or its source is not there, with the reason.
    func table(_ map: String) -> Result {
        let map = map.rest(behind: "proxy:").map(String.init) ?? map
        if let value = map.rest(behind: "static:") {
            return Result(name: "static", lines: [PostfixLine(number: 1, text: "* \(value)")], isStatic: true)
        }
        guard let colon = map.firstIndex(ofOctet: ":") else {
            return read(map)
        }
        let kind = String(map[..<colon])
        guard Self.kinds.contains(where: { $0.isSame(octets: kind) }) else {
            return Result(name: map, because: "tables of the kind \(kind) are not read")
        }
        return read(String(map[map.utf8.index(after: colon)...]))
    }

    private func read(_ path: String) -> Result {
        guard let (name, text) = text(path) else { return Result(name: path, because: "\(path) cannot be read") }
        return Result(name: name, lines: PostfixLine.all(text))
    }

    /// A table, or why there is none.
    struct Result {
        let name: String
        var lines: [PostfixLine] = []
        var isStatic = false
        var because: String?
    }
}

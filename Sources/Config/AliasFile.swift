// AliasFile.swift — `aliases`: who gets the mail of `root` and its kin, as sendmail and Postfix have it in /etc/aliases.
//
//     root: ann@example.org, bob@example.org
//     postmaster: root
//
// Only addresses: a relay has no mailboxes, runs no programs and writes no files for mail, and a line that asks for that is
// an error rather than mail that goes elsewhere. Source: aliases(5).

import Mail

/// Reads the file.
enum AliasFile {
    static let name = "aliases"

    /// - Parameter warnings: learns of names that stand there twice.
    /// - Throws: every line that cannot be read.
    static func read(_ text: String, _ warnings: inout [ConfigError]) throws(ConfigErrors) -> Aliases {
        var aliases = Aliases()
        var errors: [ConfigError] = []
        // characters: none, these are scalars
        if text.unicodeScalars.first(where: { $0 != " " && $0 != "\n" && $0 != "\r" && $0 != "\t" }) == "{" {
            let reason = "is not read: it is JSON of Haraka's plugin; write lines such as root: ann@example.org"
            warnings.append(ConfigError(file: name, reason: reason))
            return aliases
        }
        for line in logicalLines(text) {
            do throws(ValueError) {
                let (name, targets) = try entry(line.text)
                if !aliases.add(name, targets) {
                    let reason = "\(ValueParsing.shown(name)) stood there already; this one counts"
                    warnings.append(ConfigError(file: Self.name, line: line.line, reason: reason))
                }
            } catch {
                errors.append(ConfigError(file: Self.name, line: line.line, reason: error.reason))
            }
        }
        guard errors.isEmpty else { throw ConfigErrors(Array(errors.prefix(50))) }
        return aliases
    }

    /// Lines with those that go on with a blank joined to them; comments and empty ones are left out.
    private static func logicalLines(_ text: String) -> [(line: Int, text: String)] {
        var found: [(line: Int, text: String)] = []
        for (index, raw) in text.split(octet: "\n", omittingEmpty: false).enumerated() {
            let line = raw.utf8.last == 0x0D ? Substring(raw.utf8.dropLast()) : Substring(raw)
            let words = line.words
            guard let first = words.first?.utf8.first, first != UInt8(ascii: "#"), first != UInt8(ascii: ";") else {
                continue
            }
            let isContinued = line.utf8.first == 0x20 || line.utf8.first == 0x09
            if isContinued, let last = found.popLast() {
                found.append((last.line, "\(last.text) \(line)"))
            } else {
                found.append((index + 1, String(line)))
            }
        }
        return found
    }

    private static func entry(_ line: String) throws(ValueError) -> (String, [Aliases.Target]) {
        guard let colon = line.firstIndex(ofOctet: ":") else {
            throw ValueError("is not a line such as root: ann@example.org")
        }
        let name = try localName(line[..<colon].words.joined(separator: " "))
        var targets: [Aliases.Target] = []
        for piece in line[line.utf8.index(after: colon)...].split(octet: ",") {
            let text = piece.words.joined(separator: " ")
            if text.isEmpty { continue }
            targets.append(try target(text))
        }
        guard !targets.isEmpty else { throw ValueError("\(ValueParsing.shown(name)) has no address") }
        guard targets.count <= Aliases.most else {
            throw ValueError("\(ValueParsing.shown(name)) has more than \(Aliases.most) addresses")
        }
        return (name, targets)
    }

    /// Somebody of this machine: a local part.
    private static func localName(_ text: String) throws(ValueError) -> String {
        guard let address = EmailAddress("\(text)@localhost") else {
            throw ValueError("\"\(ValueParsing.shown(text))\" is not a name of this machine such as root")
        }
        return address.local
    }

    private static func target(_ text: String) throws(ValueError) -> Aliases.Target {
        switch text.utf8.first {
        case UInt8(ascii: "|"), UInt8(ascii: "/"),
            UInt8(ascii: "\"") where text.starts(withOctets: "\"|") || text.starts(withOctets: "\"/"):
            throw ValueError(
                "\(ValueParsing.shown(text)): a relay writes no mail to files and runs no programs with it; addresses only"
            )
        case UInt8(ascii: ":"):
            throw ValueError("\(ValueParsing.shown(text)): lists in other files are not read; addresses only")
        case UInt8(ascii: "\\"): return .name(try localName(String(text.dropping(octets: 1))))
        default: break
        }
        if text.contains(octet: "@") {
            guard let address = EmailAddress(text) else {
                throw ValueError("\"\(ValueParsing.shown(text))\" is not an address such as ann@example.org")
            }
            return .address(address)
        }
        return .name(try localName(text))
    }
}

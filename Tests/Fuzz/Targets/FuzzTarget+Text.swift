// FuzzTarget+Text.swift — what comes in files and answers: headers, addresses, INI, records of the DNS.

import Config
import DNS
import JSON
import Mail
import MessageFormat

extension FuzzTarget {
    /// What is known of a header does not depend on how it was cut.
    static func header(_ bytes: [UInt8]) -> String? {
        let cut = Cut(bytes)
        func look(_ pieces: [ArraySlice<UInt8>]) -> [Int] {
            var header = HeaderBlock(limit: 1 << 12)
            for piece in pieces { piece.withUnsafeBytes { header.consume($0) } }
            return [
                min(header.size, 1 << 12), header.hasMessageID ? 1 : 0, header.hasDate ? 1 : 0, header.receivedCount,
                header.hasEnded ? 1 : 0, header.isMissing ? 1 : 0,
            ]
        }
        return look([cut.bytes]) == look(cut.pieces) ? nil : "cutting makes a difference"
    }

    /// Whatever is read as a value is written so that it is read as the same value.
    static func address(_ bytes: [UInt8]) -> String? {
        let text = String(decoding: bytes, as: UTF8.self)
        if let address = EmailAddress(text), EmailAddress("\(address)") != address { return "address \(address)" }
        if let domain = Domain(text), Domain("\(domain)") != domain { return "domain \(domain)" }
        if let address = IPAddress(text), IPAddress("\(address)") != address { return "IP address \(address)" }
        if let address = IPAddress(literal: text), IPAddress(literal: address.addressLiteral) != address {
            return "literal \(address)"
        }
        if let network = IPNetwork(text), !network.contains(network.address) { return "network \(text)" }
        if let time = Timestamp(rfc3339: text), Timestamp(rfc3339: time.rfc3339) != time { return "time \(text)" }
        if let octets = Base64.decode(bytes), Array(Base64.encode(octets).utf8) != bytes { return "base64 \(text)" }
        return nil
    }

    /// Every address of a list is one by itself, and is read alone as it was read in the list.
    static func list(_ bytes: [UInt8]) -> String? {
        for entry in AddressList(bytes).entries {
            guard let address = entry.address else { continue }
            let again = AddressList(Array("<\(address)>".utf8))
            if again.fault != nil || again.entries.map(\.address) != [address] { return "\(address) is not read again" }
        }
        return nil
    }

    /// What is read is written so that the same is read, within the bounds on memory.
    static func json(_ bytes: [UInt8]) -> String? {
        guard let value = try? JSON(parsing: bytes) else { return nil }
        guard let again = try? JSON(parsing: value.bytes) else { return "what was written is no JSON" }
        return again.bytes == value.bytes ? nil : "another value is read back"
    }

    /// The lines of a table are written so that the same are read.
    static func table(_ bytes: [UInt8]) -> String? {
        guard let records = try? CSV.records(in: bytes, atMost: 1000) else { return nil }
        let again = try? CSV.records(in: records.flatMap { CSV.line($0.cells) }, atMost: 1000)
        return again.map { $0.map(\.cells) } == records.map(\.cells) ? nil : "another table is read back"
    }

    /// A section of `routes.ini` that can be read is written so that the same is read.
    static func routes(_ bytes: [UInt8]) -> String? {
        let document = INIDocument(parsing: String(decoding: bytes, as: UTF8.self))
        _ = try? Routes.read(document)
        for (match, found) in RouteSection.all(in: document) {
            guard let section = found.section, section.isDirect || !section.hosts.isEmpty else { continue }
            var fresh = INIDocument(parsing: "")
            do throws(RouteSection.Unwritable) {
                try section.write(to: &fresh, section: match)
            } catch {
                continue
            }
            guard let again = RouteSection.all(in: fresh)[match]?.section else { return "\(match) is not read again" }
            if again.flattened != section.flattened { return "\(match) is read as another route" }
        }
        return nil
    }

    /// A file is kept octet for octet, and an edit changes one value and no other.
    static func ini(_ bytes: [UInt8]) -> String? {
        let text = String(decoding: bytes, as: UTF8.self)
        var document = INIDocument(parsing: text)
        guard Array(document.text.utf8) == Array(text.utf8) else { return "not kept as it was" }
        let before = document.entries.filter { $0.key != "fuzzed" }
        do throws(ConfigError) {
            try document.set("fuzzed", to: "value", in: "main")
        } catch {
            return nil
        }
        if document.value("fuzzed", in: "main") != "value" { return "an edit is not read back" }
        let after = document.entries.filter { $0.key != "fuzzed" }
        return before.map(\.value) == after.map(\.value) ? nil : "an edit changed another value"
    }

    /// A record of the DNS gives a name that is safe to say, or nothing.
    static func record(_ bytes: [UInt8]) -> String? {
        _ = RecordParsing.tlsa(bytes)
        _ = RecordParsing.txt(bytes)
        _ = RecordParsing.a(bytes)
        _ = RecordParsing.aaaa(bytes)
        guard let host = RecordParsing.mx(bytes)?.host else { return nil }
        let isSafe = host.name.utf8.allSatisfy {
            $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "<") && $0 != UInt8(ascii: ">")
        }
        return isSafe ? nil : "a host whose name cannot be said"
    }
}

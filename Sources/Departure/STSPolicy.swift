// STSPolicy.swift — what a domain says about the hosts that take its mail (MTA-STS, RFC 8461), read from its two places.

import Mail

/// A policy.
package struct STSPolicy: Hashable, Sendable {
    /// How far the policy is meant.
    package enum Mode: String, Hashable, Sendable {
        case enforce, testing, none
    }

    /// Seconds; about a year (RFC 8461 §3.2).
    private static let longestAge = 31_557_600
    private static let mostHosts = 200

    package let mode: Mode
    /// Host names, or `*.` and a domain, in lower case.
    package let hosts: [String]
    /// Seconds that the policy holds from when it was fetched.
    package let maxAge: Int

    /// Reads the text of `https://mta-sts.DOMAIN/.well-known/mta-sts.txt`.
    ///
    /// Of a field that may stand once the first counts; fields that we do not know are skipped. A byte-order mark in front
    /// and a dot behind the name of a host are no part of the grammar, and what is meant is plain: they are dropped, since
    /// whoever wrote them asked for protection and would get none.
    /// - Returns: nil when it is no policy.
    /// - Source: RFC 8461 §3.2
    package init?(parsing text: String) {
        var fields: [String: String] = [:]
        var hosts: [String] = []
        let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
        let octets = text.utf8.starts(with: mark) ? text.utf8.dropFirst(mark.count) : text.utf8[...]
        for line in octets.split(whereSeparator: { $0 == 0x0A || $0 == 0x0D }) {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
            let name = Self.trimmed(line[..<colon])
            let value = Self.trimmed(line[line.index(after: colon)...])
            if name == "mx" {
                guard hosts.count < Self.mostHosts else { return nil }
                let host = value.lowercasedASCII
                hosts.append(host.ends(withOctets: ".") ? String(host.utf8.dropLast()) ?? host : host)
            } else if fields[name] == nil {
                fields[name] = value
            }
        }
        guard fields["version"] == "STSv1", let mode = fields["mode"].flatMap({ Mode(rawValue: $0) }),
            let age = fields["max_age"], (1...10).contains(age.utf8.count),
            age.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let maxAge = Int(age),
            mode == .none || !hosts.isEmpty
        else { return nil }
        self.mode = mode
        self.hosts = hosts
        self.maxAge = min(maxAge, Self.longestAge)
    }

    /// The policy as a report tells it, a field a line (RFC 8460 §4.4).
    package var lines: [String] {
        ["version: STSv1", "mode: \(mode.rawValue)"] + hosts.map { "mx: \($0)" } + ["max_age: \(maxAge)"]
    }

    /// Whether a host is named; `*.` stands for exactly one label.
    ///
    /// - Source: RFC 8461 §4.1
    package func names(_ host: String) -> Bool {
        let host = host.lowercasedASCII
        let parent = host.firstIndex(ofOctet: ".").map { "*" + host[$0...] }
        return hosts.contains(host) || parent.map(hosts.contains) ?? false
    }

    /// The id in the TXT records of `_mta-sts.DOMAIN`; nil when the domain has no policy.
    ///
    /// - Source: RFC 8461 §3.1
    package static func id(in records: [String]) -> String? {
        let versions = records.filter { record in
            let first = record.split(octet: ";", omittingEmpty: false).first ?? ""
            return trimmed(first.utf8) == "v=STSv1"
        }
        // More than one is as good as none.
        guard versions.count == 1, let record = versions.first else { return nil }
        for field in record.split(octet: ";").dropFirst() {
            let text = trimmed(field.utf8)
            guard let id = text.rest(behind: "id=") else { continue }
            let isPlain = id.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
            }
            return isPlain && (1...32).contains(id.utf8.count) ? String(id) : nil
        }
        return nil
    }

    private static func trimmed(_ bytes: Substring.UTF8View) -> String {
        let isBlank: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x09 }
        var rest = bytes.drop(while: isBlank)
        while let last = rest.last, isBlank(last) { rest = rest.dropLast() }
        return String(decoding: rest, as: UTF8.self)
    }
}

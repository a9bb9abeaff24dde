// RouteDraft.swift — a section of `routes.ini` while it is edited: hosts with their properties as text, from the file or from
// JSON, and back into the file.
//
// Secrets are kept as the file has them and never leave; a host that keeps its name keeps its secret.

import Config
import Mail

/// A section's content.
struct RouteDraft {
    /// A place to try.
    struct Host {
        /// `host`, `host:port` … as it stands in the file.
        var place: String
        var properties: [RouteProperty: String] = [:]
        /// Properties that were not given but taken over; without a user they mean nothing.
        var kept: Set<RouteProperty> = []
    }

    var hosts: [Host] = []
    /// The DNS decides, whatever less specific sections say.
    var isDirect = false

    init() {}

    // MARK: - The file

    /// Reads a section.
    ///
    /// - Parameter name: as it stands in the brackets.
    init(_ document: INIDocument, section name: String) {
        var shared: [RouteProperty: String] = [:]
        for entry in document.entries where entry.section == name {
            if let property = RouteProperty(rawValue: entry.key) {
                shared[property] = entry.value
            } else if entry.key == "direct" {
                isDirect = !["false", "no", "off", "disabled", "0", ""].contains(entry.value.lowercased())
            } else if entry.key == "mx" {
                hosts += Self.hosts(entry.value)
            }
        }
        for index in hosts.indices {
            let own = hosts[index].properties
            for (property, value) in shared where own[property] == nil {
                // A name belongs to its address.
                if property == .bindHelo, own[.bind] != nil { continue }
                hosts[index].properties[property] = value
            }
        }
    }

    /// The hosts of an `mx` line.
    private static func hosts(_ line: String) -> [Host] {
        var found: [Host] = []
        for item in line.split(separator: ",") {
            let first = found.count
            for word in item.split(whereSeparator: { $0 == " " || $0 == "\t" }) {
                let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                if parts.count == 2, let property = RouteProperty(rawValue: String(parts[0])) {
                    for index in first..<found.count { found[index].properties[property] = String(parts[1]) }
                } else {
                    found.append(Host(place: String(word)))
                }
            }
        }
        return found
    }

    /// Writes the section: what all hosts have in common on lines of its own, the rest on the hosts' lines.
    ///
    /// - Throws: when a secret of one host among several can stand in neither place.
    func write(to document: inout INIDocument, section name: String) throws(ConfigError) {
        var shared: [RouteProperty: String] = [:]
        if let first = hosts.first {
            for (property, value) in first.properties
            where property != .port && property != .priority
                && hosts.allSatisfy({ $0.properties[property] == value })
            {
                shared[property] = value
            }
        }
        var lines: [String] = []
        for host in hosts {
            var line = host.place
            for property in RouteProperty.allCases {
                guard let value = host.properties[property], shared[property] == nil else { continue }
                guard Self.fitsOnLine(value) else {
                    throw ConfigError(
                        file: ConfigFile.routes.name,
                        reason:
                            "\(property.rawValue) of \(host.place) holds blanks or commas and differs between hosts; "
                            + "put it into a file and give @file:PATH"
                    )
                }
                line += " \(property.rawValue)=\(value)"
            }
            lines.append(line)
        }
        if document.values("mx", in: name) != lines {
            document.remove("mx", in: name)
            for line in lines { try document.add("mx", line, in: name) }
        }
        for property in RouteProperty.allCases {
            if let value = shared[property] {
                if document.value(property.rawValue, in: name) != value {
                    try document.set(property.rawValue, to: value, in: name)
                }
            } else {
                document.remove(property.rawValue, in: name)
            }
        }
        if isDirect {
            try document.set("direct", to: "true", in: name)
        } else {
            document.remove("direct", in: name)
        }
    }

    private static func fitsOnLine(_ value: String) -> Bool {
        !value.isEmpty && !value.utf8.contains { $0 == 0x20 || $0 == 0x09 || $0 == 0x2C }
    }
}

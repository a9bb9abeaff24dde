// RouteSection+Writing.swift — a section back into `routes.ini`: what all hosts have in common on lines of its own, the rest
// on the hosts' lines. A line that says the same already is not touched.

import Mail

extension RouteSection {
    /// Why a section cannot be written.
    package struct Unwritable: Error, Hashable, Sendable {
        /// Its place among the hosts.
        package let host: Int
        package let property: RouteProperty
        /// With the remedy, and without the value.
        package let reason: String
    }

    /// Writes the section.
    ///
    /// - Parameter name: as it stands in the brackets.
    /// - Throws: ``Unwritable`` when a value of one host among several can stand in neither place; then nothing has changed.
    package func write(to document: inout INIDocument, section name: String) throws(Unwritable) {
        let (shared, lines) = try parts()
        var changed = document
        do throws(ConfigError) {
            if !changed.values("mx", in: name).elementsEqual(lines, by: { $0.isSame(octets: $1) }) {
                changed.remove("mx", in: name)
                for line in lines { try changed.add("mx", line, in: name) }
            }
            for property in RouteProperty.allCases {
                if let value = shared[property] {
                    try changed.write(property, value, in: name)
                } else {
                    changed.remove(property.rawValue, in: name)
                }
            }
            if isDirect {
                try changed.set("direct", to: "true", in: name)
            } else {
                changed.remove("direct", in: name)
            }
            for key in RouteEnding.names {
                if let ending, ending.name.isSame(octets: key) {
                    try changed.set(key, to: ending.written, in: name)
                } else {
                    changed.remove(key, in: name)
                }
            }
        } catch {
            throw Unwritable(host: 0, property: .port, reason: error.reason)
        }
        document = changed
    }

    /// What goes on lines of its own, and the values of the `mx` lines.
    private func parts() throws(Unwritable) -> (shared: [RouteProperty: String], lines: [String]) {
        let hosts = flattened.hosts
        var shared: [RouteProperty: String] = [:]
        for (property, value) in hosts.first?.words ?? [:] where property != .port && property != .priority {
            if hosts.allSatisfy({ $0.says(value, for: property) }) { shared[property] = value }
        }
        // A host with an address of its own does not take the section's name.
        if shared[.bind] == nil, hosts.contains(where: { $0.words[.bind] != nil }) { shared[.bindHelo] = nil }
        var lines: [String] = []
        for (index, host) in hosts.enumerated() {
            var line = host.place
            for property in RouteProperty.allCases where shared[property] == nil {
                guard let value = host.words[property] else { continue }
                guard RouteLine.fitsAmongOthers(value) else {
                    let remedy =
                        property.kind == .secret
                        ? "put it into a file below secrets/ and give @file:secrets/NAME" : "say the same for all hosts"
                    throw Unwritable(
                        host: index,
                        property: property,
                        reason: "holds blanks or commas and differs between hosts; \(remedy)"
                    )
                }
                line += " \(property.rawValue)=\(value)"
            }
            lines.append(line)
        }
        return (shared, lines)
    }
}

extension RouteSection.Host {
    fileprivate func says(_ value: String, for property: RouteProperty) -> Bool {
        words[property].map { $0.isSame(octets: value) } ?? false
    }
}

extension INIDocument {
    /// Gives a property its value, on its line if it has one.
    fileprivate mutating func write(_ property: RouteProperty, _ value: String, in section: String) throws(ConfigError)
    {
        if let old = self.value(property.rawValue, in: section), old.isSame(octets: value) { return }
        // Behind a secret no comment may stand, and a reference may have had one.
        if property.kind == .secret, hasCut(property.rawValue, in: section) { remove(property.rawValue, in: section) }
        try set(property.rawValue, to: value, in: section)
    }

    private func hasCut(_ key: String, in section: String) -> Bool {
        entries.contains { entry in
            entry.cut != nil && entry.key.isSame(octets: key)
                && entry.section.map { $0.isSame(octets: section) } ?? false
        }
    }
}

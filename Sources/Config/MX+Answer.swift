// MX+Answer.swift — hosts that a hook program answers with, read with the words of `routes.ini`.

package import Mail

extension MX {
    /// A host of an answer as it was given: any string form, and its properties by name.
    package struct Written: Sendable {
        package let exchange: String
        package let properties: [(name: String, value: String)]

        package init(exchange: String, properties: [(name: String, value: String)] = []) {
            self.exchange = exchange
            self.properties = properties
        }
    }

    /// The hosts in the order to try them; one without a priority comes after the one before it.
    ///
    /// - Throws: what is wrong with the first bad one, without any secret.
    package static func answer(_ written: [Written]) throws(ConfigError) -> [MX] {
        // Files and environment are the administrator's, not the program's.
        var surroundings = Surroundings(author: .program)
        var next: UInt16 = 0
        var found: [MX] = []
        for host in written {
            do throws(ValueError) {
                guard let parsed = MX.parse(host.exchange) else {
                    throw ValueError("\"\(ValueParsing.shown(host.exchange))\" is not a host in any known form")
                }
                var properties = RouteProperties()
                for (name, value) in host.properties {
                    guard let property = RouteProperty(rawValue: name) else {
                        throw ValueError("unknown property \(ValueParsing.shown(name))")
                    }
                    try properties.set(property, to: value, in: &surroundings)
                }
                var mx = try properties.apply(to: parsed.mx, hasPort: parsed.hasPort)
                mx.priority = properties.priority ?? next
                next = mx.priority == .max ? .max : mx.priority + 1
                found.append(mx)
            } catch {
                throw ConfigError(file: "mx", reason: error.reason)
            }
        }
        return found.sorted { $0.priority < $1.priority }
    }
}

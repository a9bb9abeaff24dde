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
        var found: [(host: RouteSection.Host, properties: RouteProperties)] = []
        do throws(ValueError) {
            for host in written {
                guard let place = RouteSection.Host(host.exchange) else {
                    // What was not understood may hold a login.
                    let isShown = !host.exchange.contains(octet: "@")
                    throw ValueError(
                        "\(isShown ? "\"\(ValueParsing.shown(host.exchange))\"" : "exchange") is not a host in any known form"
                    )
                }
                var properties = RouteProperties()
                for (name, value) in host.properties {
                    guard let property = RouteProperty(rawValue: name) else {
                        throw ValueError("unknown property \(ValueParsing.shown(name))")
                    }
                    try properties.set(property, to: value, in: &surroundings)
                }
                found.append((place, properties))
            }
            return try RouteSection.inOrder(found, shared: RouteProperties())
        } catch {
            throw ConfigError(file: "mx", reason: error.reason)
        }
    }
}

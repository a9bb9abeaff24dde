// SettingValue+JSON.swift — values of settings, and places to try, as JSON: for the API, explanations and hooks alike.

package import JSON
package import Mail

extension JSON {
    /// A value as it is shown; what is not set is null.
    package init(_ value: SettingValue) {
        self =
            switch value {
            case .truth(let truth): .bool(truth)
            case .number(let number): .count(number)
            case .text(let text): .string(text)
            case .none: .null
            }
    }
}

extension MX.Property {
    /// `"port": 25`.
    package var member: JSON.Member { JSON.Member(name, JSON(value)) }
}

extension MX {
    /// A place to try: the document's MX object with ours in it, as the API shows it.
    package var json: JSON { .object(properties.map(\.member)) }

    /// What programs are told of it: what is not set and what is secret is left out.
    package var told: JSON {
        .object(properties.filter { $0.value != .none && $0.property?.kind != .secret }.map(\.member))
    }
}

// RouteDraft+JSON.swift — a route as clients write it: MX objects or the string forms, and what holds for all of them.

import Config
import JSON
import Mail

extension RouteDraft {
    private static let most = 100

    /// Applies a whole route (PUT) or a merge patch (PATCH) to what the section was.
    ///
    /// Without its secret, a host keeps the one it had: always in a patch, and in a whole route when it says so with
    /// `auth_pass_set: true`, as answers do. Null takes a secret away.
    mutating func apply(_ object: JSONObject, isPatch: Bool) throws(Problem) {
        var object = object
        let old = self
        if let direct = try object.bool("direct") { isDirect = direct } else if !isPatch { isDirect = false }
        let mx = object.take("mx")
        if let mx {
            hosts = try Self.hosts(mx, object.pointer("mx"), old, isPatch: isPatch)
        } else if !isPatch {
            hosts = []
        }
        try Self.properties(&object) { (property, value) throws(Problem) in
            for index in hosts.indices where mx == nil || hosts[index].properties[property] == nil {
                hosts[index].properties[property] = value
            }
        }
        for secret in RouteProperty.allCases where secret.kind == .secret {
            _ = try object.bool("\(secret.rawValue)_set")
        }
        try object.finish()
        for index in hosts.indices where hosts[index].properties[.authUser] == nil {
            for property in hosts[index].kept { hosts[index].properties[property] = nil }
        }
        guard isDirect || !hosts.isEmpty else {
            throw Problem.invalid("\(object.pointer)/mx", "required", "names no host; or say \"direct\": true")
        }
        guard !isDirect || hosts.isEmpty else {
            throw Problem.invalid("\(object.pointer)/direct", "exclusive", "a direct route has no mx")
        }
    }

    private static func hosts(
        _ value: JSON,
        _ pointer: String,
        _ old: RouteDraft,
        isPatch: Bool
    ) throws(Problem) -> [Host] {
        let list: [JSON]
        switch value {
        case .array(let values): list = values
        case .string: list = [value]
        case .null: list = []
        default: throw Problem.invalid(pointer, "type", "must be an array of hosts, not \(value.kind)")
        }
        guard list.count <= most else { throw Problem.invalid(pointer, "length", "has more than \(most) hosts") }
        var hosts: [Host] = []
        for (index, item) in list.enumerated() {
            hosts.append(try host(item, "\(pointer)/\(index)", old, isPatch: isPatch))
        }
        return hosts
    }

    private static func host(
        _ value: JSON,
        _ pointer: String,
        _ old: RouteDraft,
        isPatch: Bool
    ) throws(Problem) -> Host {
        if case .string(let text) = value {
            var host = Host(place: try place(text, pointer))
            if isPatch { host.keep(RouteProperty.allCases.filter(\.isOfLogin), of: old) }
            return host
        }
        var object = try JSONObject(value, at: pointer)
        guard let exchange = try object.string("exchange") else {
            throw Problem.invalid(
                object.pointer("exchange"),
                "required",
                "is missing: a host name, an address or a path"
            )
        }
        let port = try object.integer("port", 1...65_535)
        var host = Host(place: try place(exchange, object.pointer("exchange"), port: port))
        var given: Set<RouteProperty> = []
        try properties(&object) { (property, value) throws(Problem) in
            given.insert(property)
            if property != .port { host.properties[property] = value }
        }
        var kept: [RouteProperty] = []
        for secret in RouteProperty.allCases where secret.kind == .secret {
            let isSet = try object.bool("\(secret.rawValue)_set") ?? isPatch
            if isSet, !given.contains(secret) { kept.append(secret) }
        }
        host.keep(kept, of: old)
        try object.finish()
        return host
    }

    /// A host as it stands in the file.
    private static func place(_ text: String, _ pointer: String, port: Int? = nil) throws(Problem) -> String {
        guard !text.utf8.contains(where: { $0 <= 0x20 || $0 == 0x2C || $0 == 0x3D || $0 == 0x3B }),
            let (mx, hasPort) = MX.parse(text)
        else {
            throw Problem.invalid(
                pointer,
                "format",
                "is not host, host:port, ip, ip:port, [v6]:port or a socket's path"
            )
        }
        guard let port else { return text }
        guard !mx.isSocket else { throw Problem.invalid(pointer, "exclusive", "a socket has no port") }
        guard !hasPort || Int(mx.port) == port else {
            throw Problem.invalid(pointer, "exclusive", "names another port than port does")
        }
        let name = IPAddress(mx.exchange)?.bracketed ?? mx.exchange
        return "\(name):\(port)"
    }

    /// Takes every property that is there; null gives nil.
    private static func properties(
        _ object: inout JSONObject,
        _ body: (RouteProperty, String?) throws(Problem) -> Void
    ) throws(Problem) {
        for property in RouteProperty.allCases {
            guard let value = object.take(property.rawValue) else { continue }
            let pointer = object.pointer(property.rawValue)
            switch (value, property.kind) {
            case (.null, _): try body(property, nil)
            case (.bool(let truth), .boolean): try body(property, truth ? "true" : "false")
            case (.integer(let number), .number):
                guard (0...65_535).contains(number) else {
                    throw Problem.invalid(pointer, "range", "must be from 0 to 65535")
                }
                try body(property, "\(number)")
            case (.string(let text), .text), (.string(let text), .secret):
                try JSONObject.check(text, pointer, atMost: 4096)
                guard property.takes(text) else {
                    throw Problem.invalid(pointer, "enum", "is none of the words for \(property.rawValue)")
                }
                if property.kind == .secret { try checkReference(text, pointer) }
                try body(property, text)
            case (let other, let kind):
                let wanted = kind == .boolean ? "true or false" : kind == .number ? "a whole number" : "a string"
                throw Problem.invalid(pointer, "type", "must be \(wanted), not \(other.kind)")
            }
        }
    }

    /// What a client may not have read and sent to a host of its own.
    private static func checkReference(_ text: String, _ pointer: String) throws(Problem) {
        do throws(ValueError) { try SecretReference(text).check(from: .client) } catch {
            throw Problem.invalid(pointer, "forbidden", error.reason)
        }
    }
}

extension RouteProperty {
    /// Says who we are.
    fileprivate var isOfLogin: Bool { rawValue.hasPrefix("auth_") || rawValue.hasPrefix("oauth_") }
}

extension RouteDraft.Host {
    /// Takes over properties of the host of the same name.
    fileprivate mutating func keep(_ wanted: [RouteProperty], of old: RouteDraft) {
        guard !wanted.isEmpty else { return }
        let name = MX.parse(place)?.mx.exchange
        guard
            let same = old.hosts.first(where: { $0.place == place })
                ?? old.hosts.first(where: { MX.parse($0.place)?.mx.exchange == name })
        else { return }
        for property in wanted where properties[property] == nil {
            properties[property] = same.properties[property]
            kept.insert(property)
        }
    }
}

// RouteDraft+JSON.swift — a route as clients write it: MX objects or the string forms, and what holds for all of them.

import Config
import JSON
import Mail

extension RouteDraft {
    private static let most = 100
    private static let secrets = RouteProperty.allCases.filter { $0.kind == .secret }

    /// Applies a whole route (PUT) or a merge patch (PATCH) to what the section was.
    ///
    /// Without its secret, a host keeps the one it had: always in a patch, and in a whole route when it says so with
    /// `auth_pass_set: true`, as answers do. Null takes a secret away.
    mutating func apply(_ object: JSONObject, isPatch: Bool) throws(Problem) {
        var object = object
        if let direct = try object.bool("direct") { isDirect = direct } else if !isPatch { isDirect = false }
        try end(&object, isPatch: isPatch)
        let mx = object.take("mx")
        if let mx {
            hosts = try hosts(mx, object.pointer("mx"), isPatch: isPatch)
        } else if isPatch {
            keepHosts(object.pointer)
        }
        try properties(&object) { (property, value) throws(Problem) in
            for index in hosts.indices where mx == nil || hosts[index].host.words[property] == nil {
                hosts[index].host.words[property] = value
                hosts[index].given.insert(property)
                hosts[index].wanted.remove(property)
            }
        }
        for secret in Self.secrets where try object.bool("\(secret.rawValue)_set") ?? false {
            for index in hosts.indices where !isPatch && !hosts[index].given.contains(secret) {
                hosts[index].wanted.insert(secret)
                hosts[index].isPromised = true
            }
        }
        try object.finish()
        if let ending {
            guard !isDirect else {
                throw Problem.invalid(
                    "\(object.pointer)/direct",
                    "exclusive",
                    "a route that says \(ending.name) is not direct"
                )
            }
            guard hosts.isEmpty else {
                throw Problem.invalid("\(object.pointer)/\(ending.name)", "exclusive", "such a route has no mx")
            }
            return
        }
        guard isDirect || !hosts.isEmpty else {
            throw Problem.invalid(
                "\(object.pointer)/mx",
                "required",
                "names no host; or say \"direct\": true, or reject or discard with a text"
            )
        }
        guard !isDirect || hosts.isEmpty else {
            throw Problem.invalid("\(object.pointer)/direct", "exclusive", "a direct route has no mx")
        }
    }

    /// `reject` and `discard`: a text, true for words of ours, null or false for no such thing.
    private mutating func end(_ object: inout JSONObject, isPatch: Bool) throws(Problem) {
        var given: RouteEnding?
        for name in ["reject", "discard"] {
            let pointer = object.pointer(name)
            let text: String
            switch object.take(name) {
            case nil: continue
            case .null?, .bool(false)?:
                if ending?.name.isSame(octets: name) ?? false { ending = nil }
                continue
            case .bool(true)?: text = "true"
            case .string(let words)?:
                try JSONObject.check(words, pointer, atMost: 400)
                text = words.isEmpty ? "true" : words
            case let other?: throw Problem.invalid(pointer, "type", "must be a string, true or null, not \(other.kind)")
            }
            guard given == nil else {
                throw Problem.invalid(pointer, "exclusive", "a route rejects or discards, not both")
            }
            do throws(ValueError) { given = try RouteEnding.read(name, text) } catch {
                throw Problem.invalid(pointer, "invalid", error.reason)
            }
        }
        if given != nil || !isPatch { ending = given }
    }

    private func hosts(_ value: JSON, _ pointer: String, isPatch: Bool) throws(Problem) -> [Host] {
        let list: [JSON]
        switch value {
        case .array(let values): list = values
        case .string: list = [value]
        case .null: list = []
        default: throw Problem.invalid(pointer, "type", "must be an array of hosts, not \(value.kind)")
        }
        guard list.count <= Self.most else {
            throw Problem.invalid(pointer, "length", "has more than \(Self.most) hosts")
        }
        var hosts: [Host] = []
        for (index, item) in list.enumerated() {
            hosts.append(try host(item, "\(pointer)/\(index)", isPatch: isPatch))
        }
        return hosts
    }

    private func host(_ value: JSON, _ pointer: String, isPatch: Bool) throws(Problem) -> Host {
        if case .string(let text) = value {
            var host = Host(host: try Self.place(text, pointer), pointer: pointer)
            if isPatch, host.host.mx.auth == nil { host.wanted = Set(RouteProperty.allCases.filter(\.isOfLogin)) }
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
        var host = Host(host: try Self.place(exchange, object.pointer("exchange"), port: port), pointer: pointer)
        try properties(&object) { (property, value) throws(Problem) in
            host.given.insert(property)
            if property != .port { host.host.words[property] = value }
        }
        for secret in Self.secrets {
            let isSet = try object.bool("\(secret.rawValue)_set")
            if isSet ?? isPatch, !host.given.contains(secret) {
                host.wanted.insert(secret)
                if isSet == true { host.isPromised = true }
            }
        }
        try object.finish()
        return host
    }

    /// A host as it stands in the file.
    private static func place(
        _ text: String,
        _ pointer: String,
        port: Int? = nil
    ) throws(Problem) -> RouteSection.Host {
        guard let host = RouteSection.Host(text) else {
            throw Problem.invalid(
                pointer,
                "format",
                "is not host, host:port, ip, ip:port, [v6]:port, a socket's path, https+graph: or https+ses:REGION"
            )
        }
        guard let port else { return host }
        guard !host.mx.hasNoAddress else {
            throw Problem.invalid(pointer, "exclusive", "neither a socket nor what is posted to over HTTPS has a port")
        }
        guard !host.hasPort || Int(host.mx.port) == port else {
            throw Problem.invalid(pointer, "exclusive", "names another port than port does")
        }
        if host.hasPort { return host }
        // A URL keeps its scheme and its login; its port becomes a word.
        guard host.mx.auth == nil, !text.contains(octets: "://") else {
            var host = host
            host.words[.port] = "\(port)"
            return host
        }
        let name = IPAddress(host.mx.exchange)?.bracketed ?? host.mx.exchange
        guard let place = RouteSection.Host("\(name):\(port)") else {
            throw Problem.invalid(pointer, "format", "is no host")
        }
        return place
    }

    /// Takes every property that is there; null gives nil.
    private func properties(
        _ object: inout JSONObject,
        _ body: (RouteProperty, String?) throws(Problem) -> Void
    ) throws(Problem) {
        for property in RouteProperty.allCases {
            guard let value = object.take(property.rawValue) else { continue }
            let pointer = object.pointer(property.rawValue)
            let text = try Self.text(value, of: property, pointer)
            if let text {
                if property.kind == .secret { try Self.checkReference(text, pointer) }
                do throws(ValueError) { try property.check(text, isLocal: isLocal) } catch {
                    throw Problem.invalid(pointer, "invalid", error.reason)
                }
            }
            try body(property, text)
        }
    }

    /// A value as it stands in the file; nil for null.
    private static func text(_ value: JSON, of property: RouteProperty, _ pointer: String) throws(Problem) -> String? {
        switch (value, property.kind) {
        case (.null, _): return nil
        case (.bool(let truth), .boolean): return truth ? "true" : "false"
        case (.integer(let number), .number):
            guard (0...65_535).contains(number) else {
                throw Problem.invalid(pointer, "range", "must be from 0 to 65535")
            }
            return "\(number)"
        case (.string(let text), .text), (.string(let text), .secret):
            try JSONObject.check(text, pointer, atMost: 4096)
            return text
        case (let other, let kind):
            let wanted = kind == .boolean ? "true or false" : kind == .number ? "a whole number" : "a string"
            throw Problem.invalid(pointer, "type", "must be \(wanted), not \(other.kind)")
        }
    }

    /// What a client may not have read and sent to a host of its own.
    private static func checkReference(_ text: String, _ pointer: String) throws(Problem) {
        do throws(ValueError) { try SecretReference(text).check(from: .client) } catch {
            throw Problem.invalid(pointer, "forbidden", error.reason)
        }
    }
}

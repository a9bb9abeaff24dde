// OutboundEndpoints.swift — every key of `outbound.ini`, typed; `disabled` among them is the toggle of delivery.

import Config
import JSON
import Loop
import Mail

/// Operations on `outbound.ini`.
enum OutboundEndpoints {
    typealias Key = SettingKey<OutboundSettings>

    /// What the API calls a key: numbers of seconds end in `_s`.
    static func names(_ key: Key) -> [String] {
        key.isSeconds ? ["\(key.name)_s"] : key.aliases + [key.name]
    }

    /// Every name that a change may have for a key.
    static func spellings(_ key: Key) -> [String] {
        [key.name] + key.aliases + (key.name.isSame(octets: "disabled_reason") ? ["reason"] : [])
    }

    /// `GET /v1/outbound`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let tag = FileEdits.tag(services.settings.revision(.outbound))
        return .json(value(services.settings.current.outbound, services), headers: [tag, noCache])
    }

    /// `PATCH /v1/outbound`: on disk and in force when it is answered.
    static func edit(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try FileEdits.allowDryRun(request)
        var changes = try changes(request)
        let position = switching(&changes, services)
        let edit = try FileEdits.edit(
            .outbound,
            request,
            services,
            operation: "edit outbound",
            key: changes.map(\.name).joined(separator: " "),
            switching: position
        ) { (document) throws(Problem) in
            for change in changes {
                try FileEdits.say("/\(change.name)") { () throws(ConfigError) in
                    try write(change, to: &document, services)
                }
            }
        }
        if let rehearsal = FileEdits.rehearsal(edit) { return rehearsal }
        audit(edit, changes, request, services)
        return .json(value(edit.after.outbound, services), headers: [FileEdits.tag(edit.revision), noCache])
    }

    /// Writes a value where the key stands already, whatever it is called there.
    private static func write(
        _ change: KeyChange,
        to document: inout INIDocument,
        _ services: AdminServices
    ) throws(ConfigError) {
        let aliases = OutboundSettings.keys.first { $0.name.isSame(octets: change.name) }?.aliases ?? []
        let isPinned = services.settings.environment.pin(change.name, in: nil, of: OutboundSettings.file) != nil
        if let text = change.text {
            let isThere = document.value(change.name, in: nil) != nil || isPinned
            let other = isThere ? nil : aliases.first { document.value($0, in: nil) != nil }
            try document.set(other ?? change.name, to: text, in: nil)
        } else {
            for name in [change.name] + aliases { document.remove(name, in: nil) }
        }
    }

    /// Where the switch of delivery is to stand; nil when something else is to be changed too, or nothing of the switch.
    ///
    /// When the switch is kept outside of the file, half of it must not go back there: then a change names all of it.
    private static func switching(_ changes: inout [KeyChange], _ services: AdminServices) -> DeliverySwitch? {
        let keys = ["disabled", "disabled_reason"]
        guard changes.contains(where: { keys.contains($0.name) }) else { return nil }
        let (outbound, origin) = (services.settings.current.outbound, services.settings.health.current.switchOrigin)
        func change(_ name: String) -> KeyChange? { changes.last { $0.name == name } }
        let isDisabled = change("disabled").map { $0.text == "true" } ?? outbound.isDisabled
        let reason = change("disabled_reason").map { $0.text ?? "" } ?? outbound.disabledReason
        if origin == .dataDirectory || origin == .memory {
            changes.removeAll { keys.contains($0.name) }
            changes.append(KeyChange(name: "disabled", text: isDisabled ? "true" : "false"))
            changes.append(KeyChange(name: "disabled_reason", text: reason.isEmpty ? nil : reason))
        }
        guard changes.allSatisfy({ keys.contains($0.name) }) else { return nil }
        return DeliverySwitch(isDisabled: isDisabled, reason: reason)
    }

    private static let noCache = HeaderField("Cache-Control", "no-cache")

    private struct KeyChange {
        let name: String
        /// nil: the default holds again.
        let text: String?
    }

    // MARK: - JSON

    private static func value(_ settings: OutboundSettings, _ services: AdminServices) -> JSON {
        var members: [JSON.Member] = []
        for key in OutboundSettings.keys {
            guard let show = key.show else { continue }
            for name in names(key) { members.append(JSON.Member(name, JSON(show(settings)))) }
        }
        let origin = services.settings.health.ask { $0.switchOrigin.rawValue }
        members.append(JSON.Member("disabled_origin", .string(origin)))
        return .object(members)
    }

    private static func changes(_ request: AdminRequest) throws(Problem) -> [KeyChange] {
        var body = try JSONObject(request.json(), at: "")
        var changes: [KeyChange] = []
        let keys = OutboundSettings.keys + OutboundSettings.quietKeys
        for key in keys {
            var given: (value: JSON, pointer: String)?
            for name in spellings(key) {
                guard let value = body.take(name) else { continue }
                // What comes out goes in: both names of a key may say the same.
                if let given, given.value != value {
                    throw Problem.invalid(body.pointer(name), "exclusive", "\(given.pointer) says something else")
                }
                given = given ?? (value, body.pointer(name))
            }
            guard let (value, pointer) = given else { continue }
            guard let text = try text(value, key, pointer) else {
                changes.append(KeyChange(name: key.name, text: nil))
                continue
            }
            if key.name == "tls_ca_file", !ConfigPath.isBelow(text) {
                // A token for settings is no leave to look around on the machine.
                throw Problem.invalid(
                    pointer,
                    "invalid",
                    "names a file below the configuration directory, without .. in it; others stand in outbound.ini only"
                )
            }
            if let complaint = OutboundSettings.complaint(about: text, for: key) {
                throw Problem.invalid(pointer, "invalid", complaint)
            }
            changes.append(KeyChange(name: key.name, text: text))
        }
        try body.finish()
        // A reason belongs to the pause it was given for.
        if changes.contains(where: { $0.name == "disabled" && $0.text != "true" }),
            !changes.contains(where: { $0.name == "disabled_reason" })
        {
            changes.append(KeyChange(name: "disabled_reason", text: nil))
        }
        return changes
    }

    /// A value as it stands in the file; nil for null.
    private static func text(_ value: JSON, _ key: Key, _ pointer: String) throws(Problem) -> String? {
        let kind = key.show.map { $0(OutboundSettings()) }
        switch (value, kind) {
        case (.null, _): return nil
        case (.bool(let truth), .truth?), (.bool(let truth), nil): return truth ? "true" : "false"
        case (.integer(let number), .number?), (.integer(let number), nil): return "\(number)"
        case (.string(let text), .number?), (.string(let text), .text?), (.string(let text), SettingValue.none?),
            (.string(let text), nil):
            try JSONObject.check(text, pointer, atMost: 4096)
            return text
        case (let other, .truth?): throw Problem.invalid(pointer, "type", "must be true or false, not \(other.kind)")
        case (let other, .number?): throw Problem.invalid(pointer, "type", "must be a whole number, not \(other.kind)")
        case (let other, _): throw Problem.invalid(pointer, "type", "must be a string, not \(other.kind)")
        }
    }

    private static func audit(
        _ edit: Edit,
        _ changes: [KeyChange],
        _ request: AdminRequest,
        _ services: AdminServices
    ) {
        guard edit.isChanged else { return }
        func shown(_ settings: OutboundSettings) -> String {
            OutboundSettings.keys.compactMap { key in
                guard changes.contains(where: { $0.name == key.name }), let show = key.show else { return nil }
                return "\(key.name)=\(String(decoding: JSON(show(settings)).bytes, as: UTF8.self))"
            }.joined(separator: " ")
        }
        services.audit(
            request,
            Change(
                operation: "editOutbound",
                before: shown(edit.before.outbound),
                after: shown(edit.after.outbound)
            )
        )
    }
}

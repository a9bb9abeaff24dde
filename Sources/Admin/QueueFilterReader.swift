// QueueFilterReader.swift — the one filter of listings and bulk actions, read from a query or from JSON.

import Config
import JSON
import Mail
import Queue

/// Conditions as clients write them, into a ``QueueFilter``.
enum QueueFilterReader {
    /// Names of the conditions; `state` may come more than once.
    static let names: Set<String> = [
        "domain", "sender", "recipient", "route", "min_age_s", "max_age_s", "min_attempts", "reason", "error_contains",
        "due_before",
    ]
    private static let numbers: Set<String> = ["min_age_s", "max_age_s", "min_attempts"]

    static func read(_ request: AdminRequest) throws(Problem) -> QueueFilter {
        var reader = Reader { "?\($0)" }
        for name in names { if let value = request.value(name) { reader.values[name] = [value] } }
        reader.values["state"] = request.values("state")
        return try reader.filter()
    }

    static func read(_ object: JSONObject) throws(Problem) -> QueueFilter {
        var object = object
        let place = object
        var reader = Reader { place.pointer($0) }
        // Nothing may be null: a script whose variable is empty must not find more than it meant.
        for name in names {
            switch object.take(name) {
            case nil: break
            case .string(let text) where !numbers.contains(name):
                try JSONObject.check(text, object.pointer(name), atMost: 1024)
                reader.values[name] = [text]
            case .integer(let number) where numbers.contains(name): reader.values[name] = ["\(number)"]
            case let other?: throw Problem.invalid(object.pointer(name), "type", "cannot be \(other.kind)")
            }
        }
        for name in ["state", FilterWords.name] where object.isNull(name) {
            throw Problem.invalid(object.pointer(name), "type", "cannot be null")
        }
        if let text = try object.string(FilterWords.name) {
            for field in try FilterWords.queue.expand(text, place: place.pointer(FilterWords.name)) {
                guard names.contains(field.name) || field.name == "state" else {
                    throw Problem.invalid(place.pointer(FilterWords.name), "unknown", "\(field.name) is no condition")
                }
                reader.values[field.name, default: []].append(field.value)
            }
        }
        reader.values["state", default: []] += try object.strings("state", atMost: 8) ?? []
        for name in names where reader.values[name]?.count ?? 0 > 1 {
            throw Problem.invalid(place.pointer(name), "duplicate", "given twice")
        }
        try object.finish()
        return try reader.filter()
    }

    private struct Reader {
        var values: [String: [String]] = [:]
        let pointer: (String) -> String

        init(pointer: @escaping (String) -> String) { self.pointer = pointer }

        func filter() throws(Problem) -> QueueFilter {
            var filter = QueueFilter()
            for text in values["state"] ?? [] {
                guard let state = QueuedState(word: text) else {
                    let known = QueuedState.allCases.map(\.name).joined(separator: ", ")
                    throw Problem.invalid(pointer("state"), "enum", "is none of \(known)")
                }
                filter.states.insert(state)
            }
            filter.domain = try value("domain", "is no domain") { Domain($0) }
            filter.sender = try value("sender", "is neither an address nor *@domain nor <>") { text in
                text.isEmpty || text.isSame(octets: "<>") ? .null : Self.party(text)
            }
            filter.recipient = try value("recipient", "is neither an address nor *@domain", Self.party)
            filter.route = values["route"]?.first.map { Routes.normalized($0) ?? $0 }
            filter.minAge = try number("min_age_s")
            filter.maxAge = try number("max_age_s")
            filter.minAttempts = try number("min_attempts").map { Int($0) }
            filter.reason = try value(
                "reason",
                "is none of \(FailureReason.allCases.map(\.name).joined(separator: ", "))"
            ) { FailureReason(name: $0) }
            filter.errorContains = values["error_contains"]?.first
            filter.dueBefore = try value("due_before", "is no time such as 2027-01-31T12:00:00Z") {
                Timestamp(rfc3339: $0)
            }
            return filter
        }

        /// An address, or everybody of a domain.
        private static func party(_ text: String) -> AddressFilter? {
            text.starts(withOctets: "*@")
                ? Domain(text.dropping(octets: 2)).map { .domain($0) } : EmailAddress(text).map { .address($0) }
        }

        private func value<Value>(
            _ name: String,
            _ complaint: String,
            _ parse: (String) -> Value?
        ) throws(Problem) -> Value? {
            guard let text = values[name]?.first else { return nil }
            guard let value = parse(text) else { throw Problem.invalid(pointer(name), "format", complaint) }
            return value
        }

        private func number(_ name: String) throws(Problem) -> Int64? {
            try value(name, "is no number of at most 12 digits") { text in
                (1...12).contains(text.utf8.count) && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
                    ? Int64(text) : nil
            }
        }
    }
}

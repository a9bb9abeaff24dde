// LimitChoice.swift — of all limits that count for something, the smallest of each key: what explains and what acts. Pure.

/// One limit that counts for something.
package struct LimitInForce: Hashable, Sendable {
    package let scope: LimitScope
    package let key: LimitTerms.Key
    /// As the file has it.
    package let text: String
    /// `limits.ini:12`.
    package let origin: String
    /// Sessions or messages that are counted against it now; nil where that says nothing.
    package var used: Int?
    /// When it lets the next one on; nil: now.
    package var opens: Uptime?
    /// Since when somebody waits for it; nil: nobody does.
    package var since: Uptime?
    /// It is the smallest of its key.
    package var applies = false

    /// How narrow it is, to compare with others of its key.
    fileprivate let order: Double

    package init?(_ key: LimitTerms.Key, of terms: LimitTerms, in scope: LimitScope) {
        guard !key.isManner, let text = terms.text(key) else { return nil }
        (self.scope, self.key, self.text) = (scope, key, text)
        origin = terms.origins[key] ?? ""
        switch key {
        case .connections: order = Double(terms.connections ?? 0)
        case .perConnection: order = Double(terms.perConnection ?? 0)
        case .newConnections: order = terms.newConnections.map { 1 / Double($0.interval) } ?? 0
        case .rate: order = terms.rate.map { 1 / Double($0.interval) } ?? 0
        case .daily: order = Double(terms.daily ?? 0)
        case .recipients: order = Double(terms.recipients ?? 0)
        case .warmup, .per, .overflow, .otherSource: order = 0
        }
    }

    /// In a sentence: `rate 20/m of provider google (limits.ini:12)`.
    package var words: String { "\(key.rawValue) \(text) of \(scope) (\(origin))" }
}

extension [LimitInForce] {
    /// Says which of each key is the smallest; of equal ones the first.
    package mutating func choose() {
        for key in LimitTerms.Key.allCases {
            let own = indices.filter { self[$0].key == key }
            guard let least = own.map({ self[$0].order }).min(),
                let place = own.first(where: { self[$0].order <= least })
            else { continue }
            self[place].applies = true
        }
    }
}

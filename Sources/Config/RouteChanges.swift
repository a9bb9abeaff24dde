// RouteChanges.swift — which queued mail may take another way after the route table changed.
//
// Errs on the side of yes: whoever asks looks again at every message of a lane for which the answer is yes.

package import Mail

/// The difference of two route tables, as far as lanes are concerned.
package struct RouteChanges: Sendable {
    /// More new sections than this concern everybody.
    private static let most = 1000

    /// Sections of senders came or went: nobody can tell from a lane who the senders are.
    private let concernsAll: Bool
    /// Sections that came, went, or became `direct` or ceased to be.
    private let moved: [AddressPattern]
    private let gone: Set<String>
    /// Sections whose hosts are others now.
    private let changed: Set<String>

    package init(from old: Routes, to new: Routes) {
        let (before, after) = (old.all, new.all)
        var moved: [String] = []
        var gone: Set<String> = []
        var changed: Set<String> = []
        for (match, route) in before {
            guard let other = after[match] else {
                moved.append(match)
                gone.insert(match)
                continue
            }
            if other.isDirect != route.isDirect {
                moved.append(match)
                if other.isDirect { gone.insert(match) }
            } else if other != route {
                changed.insert(match)
            }
        }
        moved += after.keys.filter { before[$0] == nil }
        concernsAll = moved.count > Self.most || moved.contains { $0.utf8.starts(with: "sender ".utf8) }
        self.moved = moved.compactMap { AddressPattern($0) }
        self.gone = gone
        self.changed = changed
    }

    /// Whether mail of a lane may belong to another one now.
    package func mayMove(_ hop: Lane.Hop) -> Bool {
        if concernsAll { return true }
        switch hop {
        case .preparation: return !moved.isEmpty
        case .chosen: return false
        case .domain(let domain): return moved.contains { $0.mayMatch(domain.name) }
        case .route(let name):
            if gone.contains(name) { return true }
            guard let pattern = AddressPattern(name) else { return false }
            return moved.contains { pattern.mayHold($0) }
        }
    }

    /// Whether a lane stays what it is and leads elsewhere.
    package func leadsElsewhere(_ hop: Lane.Hop) -> Bool {
        guard case .route(let name) = hop else { return false }
        return changed.contains(name)
    }
}

extension AddressPattern {
    /// Whether some address of a domain fits.
    fileprivate func mayMatch(_ domain: String) -> Bool {
        switch self {
        case .null: false
        case .any: true
        case .domain(let name): name == domain
        case .address(let address): address.domain.name == domain
        case .suffix(let name): Self.is(domain, below: name)
        }
    }

    /// Whether mail that fits this pattern may fit a more specific one too.
    fileprivate func mayHold(_ other: AddressPattern) -> Bool {
        switch (self, other) {
        case (.any, _): other != .any
        case (.suffix(let outer), .suffix(let inner)), (.suffix(let outer), .domain(let inner)):
            Self.is(inner, below: outer)
        case (.suffix(let outer), .address(let address)): Self.is(address.domain.name, below: outer)
        case (.domain(let name), .address(let address)): address.domain.name == name
        default: false
        }
    }

    private static func `is`(_ name: String, below suffix: String) -> Bool {
        let (name, suffix) = (name.utf8, suffix.utf8)
        return name.count > suffix.count && name.suffix(suffix.count).elementsEqual(suffix)
            && name.dropLast(suffix.count).last == UInt8(ascii: ".")
    }
}

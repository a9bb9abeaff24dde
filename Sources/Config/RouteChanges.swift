// RouteChanges.swift — which queued mail may take another way after the route table changed.
//
// Errs on the side of yes: whoever asks looks again at every message of a lane for which the answer is yes.

package import Mail

/// The difference of two route tables, as far as lanes are concerned.
package struct RouteChanges: Sendable {
    /// More new sections than this concern everybody.
    private static let most = 1000

    private let concernsAll: Bool
    /// Sections that came, went, or became `direct` or ceased to be.
    private let moved: [RouteName]
    private let gone: Set<String>
    /// Sections whose hosts are others now.
    private let changed: Set<String>
    /// Those of them with another login.
    private let logins: Set<String>

    package init(from old: Routes, to new: Routes) {
        let (before, after) = (old.sections(whereUnlike: new), new.sections(whereUnlike: old))
        var moved: [String] = []
        var gone: Set<String> = []
        var changed: Set<String> = []
        var logins: Set<String> = []
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
                if other.hosts.contains(where: { $0.auth != nil }), Self.logins(other) != Self.logins(route) {
                    logins.insert(match)
                }
            }
        }
        moved += after.keys.filter { before[$0] == nil }
        concernsAll = moved.count > Self.most
        self.moved = moved.compactMap { RouteName($0) }
        self.gone = gone
        self.changed = changed
        self.logins = logins
    }

    private static func logins(_ route: Routes.Entry) -> Set<Credentials?> { Set(route.hosts.map(\.auth)) }

    /// Whether mail of a lane may belong to another one now.
    package func mayMove(_ hop: Lane.Hop) -> Bool {
        if concernsAll { return true }
        switch hop {
        case .preparation: return !moved.isEmpty
        case .chosen: return false
        case .domain(let domain): return moved.contains { $0.recipientPattern?.mayMatch(domain.name) ?? true }
        case .route(let name):
            if gone.contains(name) { return true }
            guard let name = RouteName(name) else { return false }
            return moved.contains { name.mayLose(to: $0) }
        }
    }

    /// Whether a lane stays, and a host of it is logged in to otherwise: what waited for the login may go.
    package func hasNewLogin(_ hop: Lane.Hop) -> Bool {
        guard case .route(let name) = hop else { return false }
        return logins.contains(name)
    }

    /// Some lane has a new login.
    package var hasNewLogins: Bool { !logins.isEmpty }

    /// Whether a lane stays what it is and leads elsewhere.
    package func leadsElsewhere(_ hop: Lane.Hop) -> Bool {
        guard case .route(let name) = hop else { return false }
        return changed.contains(name)
    }
}

extension RouteName {
    /// Whether mail that fits this name may fit one that counts more.
    fileprivate func mayLose(to other: RouteName) -> Bool {
        switch (self, other) {
        case (.recipient(.any), _): return other != self
        case (.recipient(let pattern), .recipient(let inner)): return pattern.mayHold(inner)
        case (.recipient(let pattern), .pair(_, let inner)): return pattern == inner || pattern.mayHold(inner)
        case (.recipient, .sender): return false
        case (.sender(let pattern), .sender(let inner)): return pattern.mayHold(inner)
        case (.sender, .recipient(let inner)): return inner != AddressPattern.any
        case (.sender(let pattern), .pair(let inner, _)): return pattern.mayMeet(inner)
        case (.pair(_, let pattern), .recipient(let inner)): return pattern.mayHold(inner)
        case (.pair(let sender, let pattern), .pair(let innerSender, let inner)):
            return pattern == inner
                ? sender.mayHold(innerSender) : pattern.mayHold(inner) && sender.mayMeet(innerSender)
        case (.pair, .sender): return false
        }
    }
}

extension AddressPattern {
    /// Whether some address fits both.
    fileprivate func mayMeet(_ other: AddressPattern) -> Bool {
        self == other || mayHold(other) || other.mayHold(self)
    }

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

// Endpoint+Filter.swift — which events a receiver hears of. Pure.
//
// What a filter asks for and an event does not have does not fit: a filter by tag hears of no event without one.

package import Config
package import History
import Mail

extension WebhookSettings.Endpoint {
    /// The kinds of events that `types` names; all, when it names none.
    package var eventTypes: Set<EventType> {
        types.isEmpty ? Set(EventType.allCases) : Set(types.flatMap(Self.types))
    }

    /// Words of `types` that are no event's.
    package var unknownTypes: [String] { types.filter { Self.types($0).isEmpty } }

    /// The kinds that a pattern names: `delivery.*` is everything below `delivery`, and `*` everything.
    private static func types(_ pattern: String) -> [EventType] {
        guard let stem = pattern.rest(before: "*") else { return EventType(name: pattern).map { [$0] } ?? [] }
        return EventType.allCases.filter { $0.name.starts(withOctets: stem) }
    }

    /// Whether an event of one of its kinds is for this receiver: routes, tags and domains, and the format has words for it.
    package func wants(_ event: Event) -> Bool {
        guard Self.isOne(of: routes, event.data.route?.lowercasedASCII), Self.isOne(of: tags, event.data.tag) else {
            return false
        }
        guard WebhookBody.value(event, format) != nil else { return false }
        guard !senderDomains.isEmpty else { return true }
        let domain = event.data.sender.flatMap { sender in
            sender.lastIndex(ofOctet: "@").flatMap { Domain(sender[sender.index(after: $0)...]) }
        }
        return Self.isOne(of: senderDomains, domain?.name)
    }

    private static func isOne(of list: [String], _ value: String?) -> Bool {
        list.isEmpty || value.map { value in list.contains { $0.isSame(octets: value) } } ?? false
    }
}

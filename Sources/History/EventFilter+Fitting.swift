// EventFilter+Fitting.swift — whether an event is wanted. Pure; addresses are compared as people write them.

import Mail

extension EventFilter {
    /// Whether a reader with this filter wants the event.
    package func fits(_ event: Event) -> Bool {
        let data = event.data
        if !types.isEmpty, !types.contains(event.type) { return false }
        if let message, data.message != message { return false }
        if let since, event.time < since { return false }
        if let before, event.time >= before { return false }
        if let replyClass, data.reason?.replyClass != replyClass { return false }
        if let reason, data.reason != reason { return false }
        if let code, data.smtp?.code != code { return false }
        if let route, !Self.isSame(route, data.route) { return false }
        if let tag, !Self.isSame(tag, data.tag) { return false }
        if let headerMessageID, !Self.isSame(headerMessageID, data.headerMessageID) { return false }
        if let recipient, !recipient.fits(data.recipient) { return false }
        if let sender, !sender.fits(data.sender) { return false }
        if let domain, !AddressFilter.domain(domain).fits(data.recipient),
            !AddressFilter.domain(domain).fits(data.sender)
        {
            return false
        }
        return true
    }

    static func isSame(_ wanted: String, _ found: String?) -> Bool {
        found.map { wanted.lowercasedASCII.isSame(octets: $0.lowercasedASCII) } ?? false
    }
}

extension AddressFilter {
    /// Whether an address is meant; case does not matter, since people search.
    package func fits(_ address: String?) -> Bool {
        guard let address else { return false }
        switch self {
        case .null: return address.isSame(octets: "<>")
        case .address(let wanted): return "\(wanted)".lowercasedASCII.isSame(octets: address.lowercasedASCII)
        case .domain(let wanted):
            return SearchKey.domain(of: address).map { $0.lowercasedASCII.isSame(octets: wanted.name.lowercasedASCII) }
                ?? false
        }
    }
}

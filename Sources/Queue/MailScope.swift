// MailScope.swift — what limits and pauses see of a parcel: its sender's domain, its user, its tag, its recipients' domain.
// Interned, so that a parcel costs a number; only what some rule or pause asks for is in it.

import Mail

/// Where a mail scope stands.
struct ScopeNumber: Handle {
    let number: Int32

    init(place: Int) { number = Int32(place) }

    var place: Int { Int(number) }

    /// It was not looked at yet.
    static let null = ScopeNumber(place: -1)
}

/// What is asked of a parcel.
struct MailKey: Hashable, Sendable {
    /// nil: nobody asks, or the null sender.
    var sender: String?
    var user: String?
    var tag: String?
    /// nil: of several, or of one that nobody asks about.
    var domain: String?
    /// Its sender's domain and where it goes; nil: nobody asks about that.
    var way: LimitScope?
}

/// Parcels that limits and pauses see alike.
struct MailScope: Sendable {
    let key: MailKey
    var meters: [MeterNumber] = []
    /// Parcels that have it.
    var members = 0
    /// More is asked by now than it tells.
    var isStale = false
}

/// A parcel, as far as limits and pauses see it; eight bytes.
struct TicketScope: Sendable {
    var scope = ScopeNumber.null
    /// Where it waits.
    var parkedAt = MeterNumber.null
}

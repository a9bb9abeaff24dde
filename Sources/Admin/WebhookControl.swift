// WebhookControl.swift — what the API asks of whoever sends events to receivers. The API does not know the sender.

package import JSON
package import Mail

/// The sender of webhooks, as the API knows it.
package protocol WebhookControl: Sendable {
    /// How a receiver is; nil when there is none of that name.
    func status(_ name: String) -> JSON?

    /// The last requests to it, newest first.
    func deliveries(_ name: String, atMost limit: Int) -> [JSON]?

    /// Sends an example now, and says what came back.
    func test(_ name: String) async -> JSON?

    /// Switches a receiver on again.
    ///
    /// - Returns: false when there is none of that name.
    func enable(_ name: String) -> Bool

    /// Sends events once more.
    ///
    /// - Returns: the numbers of the first and the last.
    /// - Throws: why not.
    func replay(_ name: String, _ range: ReplayRange) throws(ReplayRefusal) -> ClosedRange<UInt64>

    /// A receiver is gone for good.
    func forget(_ name: String)
}

/// Which events are sent once more.
package enum ReplayRange: Hashable, Sendable {
    case numbers(ClosedRange<UInt64>)
    /// From one moment up to another; nil: up to now.
    case times(Timestamp, Timestamp?)
}

/// Why events are not sent once more.
package enum ReplayRefusal: Error, Hashable, Sendable {
    /// There are none of that range, or none any more.
    case empty
    /// Too much waits already.
    case tooMany
    /// The history cannot be read.
    case unreadable(String)
}

/// A relay without webhooks, for tests.
package struct NoWebhooks: WebhookControl {
    package init() {}
    package func status(_ name: String) -> JSON? { nil }
    package func deliveries(_ name: String, atMost limit: Int) -> [JSON]? { nil }
    package func test(_ name: String) async -> JSON? { nil }
    package func enable(_ name: String) -> Bool { false }
    package func replay(_ name: String, _ range: ReplayRange) throws(ReplayRefusal) -> ClosedRange<UInt64> {
        throw .empty
    }
    package func forget(_ name: String) {}
}

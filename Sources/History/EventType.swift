// EventType.swift — what may happen to mail and to the relay, as one closed list of words.
//
// The words stand in the API, in webhooks, in files and in history, and people hold on to them: rename none, and never use a
// number again. Words without a case here, such as `message.rejected`, are kept for what is to come.

/// The kind of an event.
package enum EventType: UInt8, Hashable, Sendable, CaseIterable {
    // A message.
    case accepted = 1
    case held = 2
    case released = 3
    case removed = 4
    case finished = 5
    /// Another relay has it from now on.
    case left = 6
    /// Another relay had it.
    case arrived = 7
    /// It is to bounce, unless somebody revives it.
    case dying = 8
    // A recipient of a message.
    case deferred = 10
    case delivered = 11
    case bounced = 12
    /// It was dropped because a plugin said so, or is on the list of those that get nothing.
    case suppressed = 13
    /// A report of somebody behind the next hop says that it never arrived.
    case bouncedLate = 14
    /// The recipient says that it was not wanted.
    case complained = 15
    // A report of ours.
    case reportSent = 20
    // A destination.
    case destinationPaused = 30
    case destinationSlowed = 31
    case destinationRecovered = 32
    // The relay.
    case outboundDisabled = 40
    case outboundEnabled = 41
    case routeChanged = 42
    case configChanged = 43
    case credentialLimited = 44
    case tokenExpiring = 45
    case webhookDisabled = 46
    /// A copy that `archive.ini` asks for was not made, or is lost.
    case archiveFailed = 47
    /// The certificate ends soon, and none has come in its place.
    case certificateExpiring = 48
    // The relays that share a queue.
    case nodeJoined = 70
    case nodeLeft = 71
    /// Its mail, or that of several, is another one's.
    case nodeTakenOver = 72
    case credentialParked = 60
    case credentialReleased = 61
    /// Somebody was not let in.
    case credentialRefused = 62
    // The events themselves.
    /// Some were dropped before they were read: the relay could not keep what they are made of.
    case journalTruncated = 50
    /// Somebody had what is known of a person erased.
    case historyErased = 51

    /// The word of the API: `delivery.delivered`.
    package var name: String {
        switch self {
        case .accepted: "message.accepted"
        case .held: "message.held"
        case .released: "message.released"
        case .removed: "message.removed"
        case .finished: "message.finished"
        case .left: "message.left"
        case .arrived: "message.arrived"
        case .dying: "message.dying"
        case .deferred: "delivery.deferred"
        case .delivered: "delivery.delivered"
        case .bounced: "delivery.bounced"
        case .suppressed: "delivery.suppressed"
        case .bouncedLate: "delivery.bounced_late"
        case .complained: "delivery.complained"
        case .reportSent: "report.sent"
        case .destinationPaused: "destination.paused"
        case .destinationSlowed: "destination.slowed"
        case .destinationRecovered: "destination.recovered"
        case .outboundDisabled: "outbound.disabled"
        case .outboundEnabled: "outbound.enabled"
        case .routeChanged: "route.changed"
        case .configChanged: "config.changed"
        case .credentialLimited: "credential.limited"
        case .tokenExpiring: "token.expiring"
        case .webhookDisabled: "webhook.disabled"
        case .credentialParked: "credential.parked"
        case .credentialReleased: "credential.released"
        case .credentialRefused: "credential.refused"
        case .archiveFailed: "archive.failed"
        case .journalTruncated: "journal.truncated"
        case .historyErased: "history.erased"
        case .certificateExpiring: "certificate.expiring"
        case .nodeJoined: "node.joined"
        case .nodeLeft: "node.left"
        case .nodeTakenOver: "node.taken_over"
        }
    }

    /// The type with that word.
    ///
    /// - Returns: nil for a word that is not in the list.
    package init?(name: some StringProtocol) {
        guard let type = Self.allCases.first(where: { $0.name.utf8.elementsEqual(name.utf8) }) else { return nil }
        self = type
    }

    /// It is about one recipient.
    package var isOfRecipient: Bool {
        switch self {
        case .deferred, .delivered, .bounced, .suppressed, .bouncedLate, .complained: true
        default: false
        }
    }
}

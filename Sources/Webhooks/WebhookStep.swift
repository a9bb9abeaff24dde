// WebhookStep.swift — what follows when a receiver has answered, or has not. Pure; the table: Tests/Tables/webhook_steps.table.

/// What came back.
package enum WebhookAnswer: Hashable, Sendable {
    /// An HTTP status, and the seconds of its `Retry-After`.
    case status(Int, retryAfter: Int64?)
    /// No answer, and why.
    case silence(Silence)

    /// Why there is no answer; the raw value is the word of the API and the metrics.
    package enum Silence: String, Hashable, Sendable, CaseIterable {
        case unresolved, address, connect, tls, timeout, broken
    }
}

/// What the sender does next.
package enum WebhookStep: Hashable, Sendable {
    /// The receiver has the events.
    case taken
    /// The receiver does not want this event, ever.
    case dropped
    /// Too much at once, or something among it that the receiver does not want: again at once, with at most so many.
    case divided(into: Int)
    /// Again after so many milliseconds, and up to a fifth more.
    case waits(Int64, Reach)
    /// The receiver wants nothing any more.
    case disabled

    /// What waits.
    package enum Reach: Hashable, Sendable {
        /// Everything: the receiver is not well.
        case endpoint
        /// Everything, and later fewer requests: the receiver, or what stands before it, is overloaded.
        case slowed
        /// These events alone: the receiver takes others.
        case events
    }
}

/// What is known when an answer is judged.
package struct WebhookTerms: Hashable, Sendable {
    /// Events in the body.
    package var events = 1
    /// Tries of these events, this one included.
    package var tries = 1
    /// `ordered`.
    package var isOrdered = false
    /// Something was taken since events were last passed by: not everything fails.
    package var hasTakenOthers = true
    /// Seconds to the second try, and at most between two.
    package var retryFirst: Int64 = 5
    package var retryMax: Int64 = 21_600

    package init() {}

    /// Tries before others may go past.
    fileprivate static let patience = 3
    /// 5 s, 30 s, 2 min, 10 min, 30 min, 1 h, 3 h, 6 h, for a first of five seconds.
    private static let factors: [Int64] = [1, 6, 24, 120, 360, 720, 2160, 4320]
    /// A receiver may ask for a day at most, seconds.
    private static let longest: Int64 = 86_400

    /// Milliseconds to the next try.
    package func delay(retryAfter: Int64?) -> Int64 {
        let factor = Self.factors[min(max(tries, 1), Self.factors.count) - 1]
        let usual = min(retryFirst * factor, retryMax)
        return max(usual, min(max(retryAfter ?? 0, 0), Self.longest)) * 1000
    }
}

/// Judges an answer.
///
/// - Source: Standard Webhooks: a receiver that is gone says 410, an overloaded one 429, 502 or 504
package func webhookStep(after answer: WebhookAnswer, _ terms: WebhookTerms) -> WebhookStep {
    guard case .status(let status, let retryAfter) = answer else {
        return .waits(terms.delay(retryAfter: nil), .endpoint)
    }
    let delay = terms.delay(retryAfter: retryAfter)
    switch status {
    case 200...299: return .taken
    case 410: return .disabled
    case 406: return terms.events > 1 ? .divided(into: 1) : .dropped
    case 413: return terms.events > 1 ? .divided(into: terms.events / 2) : .dropped
    case 429, 502, 504: return .waits(delay, .slowed)
    // The receiver speaks of itself: whatever is sent waits.
    case 300...399, 401, 403, 404, 407, 408, 425, 503: return .waits(delay, .endpoint)
    default:
        let mayPass = !terms.isOrdered && terms.hasTakenOthers && terms.tries >= WebhookTerms.patience
        return .waits(delay, mayPass ? .events : .endpoint)
    }
}

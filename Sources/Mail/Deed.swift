// Deed.swift — what a reaction does, and what it is about: values that `limits.ini` is read into. Pure.

/// What a reaction does.
package enum Deed: Hashable, Sendable {
    /// Fewer messages: down by a factor with each reaction, up again by steps.
    case slow(Slope)
    /// At most so many sessions; one more with each step.
    case connections(Int, Slope)
    /// Our address is left alone for so many milliseconds: mail of a pool leaves from another one, other mail waits.
    case otherSource(Int64)
    /// Nothing for so many milliseconds.
    case pause(Int64)
    /// The mail of the sender's domain waits, wherever it goes; nil: until somebody resumes it.
    case parkSender(Int64?)
    /// Mail that is answered so fails for good, although the answer was temporary.
    case bounce
    /// Mail that is answered so is tried again after so many milliseconds at the soonest.
    case delay(Int64)

    /// Its word in `limits.ini`, and the label of its metric.
    package var word: String {
        switch self {
        case .slow: "slow"
        case .connections: "connections"
        case .otherSource: "other_source"
        case .pause: "pause"
        case .parkSender: "park_sender"
        case .bounce: "bounce"
        case .delay: "defer"
        }
    }

    /// All words.
    package static let words = ["slow", "connections", "other_source", "pause", "park_sender", "bounce", "defer"]

    /// It changes what becomes of the mail that was answered, and nothing else.
    package var isOfAnswer: Bool {
        switch self {
        case .bounce, .delay: true
        case .slow, .connections, .otherSource, .pause, .parkSender: false
        }
    }

    /// It is undone in steps.
    package var hasSteps: Bool {
        switch self {
        case .slow, .connections: true
        case .bounce, .delay, .otherSource, .pause, .parkSender: false
        }
    }
}

/// How something is lowered and comes back.
package struct Slope: Hashable, Sendable {
    /// Percent that are left of the rate, 1…99.
    package var left: Int
    /// Messages an hour below which it is not lowered.
    package var floor: Int
    /// Percent of the rate at which it was refused that each step gives back, 1…100.
    package var step: Int
    /// Milliseconds between two steps.
    package var every: Int64

    package init(left: Int = 50, floor: Int = 60, step: Int = 10, every: Int64 = 600_000) {
        (self.left, self.floor, self.step, self.every) = (left, floor, step, every)
    }
}

/// What a reaction is about.
package enum Subject: String, Hashable, Sendable, CaseIterable {
    /// What the reply speaks of: see ``init(of:kinds:)``.
    case reply
    /// The next hop.
    case lane
    /// All domains of the provider behind the next hop, where it is one of `limits.ini`.
    case provider
    /// The address that we came from, with the next hop.
    case source
    /// The sender's domain, with the next hop.
    case sender
    /// Who handed the mail in.
    case user

    /// What a reply speaks of: our address, the sender's domain, or else the next hop itself.
    ///
    /// - Parameter kinds: the words that its classifiers have for it.
    package init(of reply: Reply, kinds: [String]) {
        let text = reply.description
        if kinds.contains(where: { $0.isSame(octets: "auth_failed") || $0.isSame(octets: "sender_auth") })
            || Self.ofSender?.fits(text) ?? false
        {
            self = .sender
        } else if Self.ofSource?.fits(text) ?? false {
            self = .source
        } else {
            self = .lane
        }
    }

    // Both are read by tests, so neither is nil.
    private static let ofSender = try? BytePattern(
        #"\b(dkim|spf|dmarc|from|sending|sender|sender's|your|mail) domain|domain (has|is|of) .{0,40}(reputation|rate)|\bsender address\b|\bfrom (address|header)\b|unusual rate of .{0,60}\b(dkim|spf)\b"#
    )
    private static let ofSource = try? BytePattern(
        #"\bip\b|\bips\b|ip address|client host|connecting host|\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b|(block|black|deny) ?list|\brbl\b|dnsbl|spamhaus"#
    )
}

// Reaction.swift — what replies make of a lane, a sender or an address of ours: so many of a kind in so long, and it is slowed,
// paused or treated otherwise. Pure.
//
// A pattern is an enhanced code, a basic code, the name of a reason, or a regular expression; each is compared in a time that is
// bounded whatever the peer says.

/// Which replies are meant.
package enum ReplyPattern: Hashable, Sendable {
    /// `5.7.*`, `4.2.1`; nil: any number.
    case enhanced(UInt8?, UInt16?, UInt16?)
    /// `421`, `45*`, `5**`.
    case code([UInt8?])
    /// A word for a kind of reply, such as `rate_limited`.
    case kind(String)
    /// `/too many (messages|connections)/`, found in the whole reply, its codes included.
    case text(BytePattern)

    /// Reads one; a regular expression is none of these.
    ///
    /// - Parameter isKind: whether a word is the name of a kind of reply.
    package init?(_ text: String, isKind: (String) -> Bool) {
        let parts = text.split(octet: ".", omittingEmpty: false).map { String($0) }
        if parts.count == 3 {
            var numbers: [UInt16?] = []
            for part in parts {
                if part.isSame(octets: "*") {
                    numbers.append(nil)
                } else {
                    guard let number = UInt16(part), number < 1000 else { return nil }
                    numbers.append(number)
                }
            }
            guard numbers[0].map({ [2, 4, 5].contains($0) }) ?? true else { return nil }
            self = .enhanced(numbers[0].map { UInt8($0) }, numbers[1], numbers[2])
            return
        }
        let octets = Array(text.utf8)
        if octets.count == 3, octets[0] == UInt8(ascii: "4") || octets[0] == UInt8(ascii: "5") {
            var digits: [UInt8?] = []
            for octet in octets {
                switch octet {
                case UInt8(ascii: "*"): digits.append(nil)
                case UInt8(ascii: "0")...UInt8(ascii: "9"): digits.append(octet - UInt8(ascii: "0"))
                default: return nil
                }
            }
            self = .code(digits)
            return
        }
        guard isKind(text) else { return nil }
        self = .kind(text)
    }

    /// Whether a reply is meant.
    ///
    /// - Parameter kinds: the words that its classifiers have for it.
    package func fits(_ reply: Reply, kinds: [String]) -> Bool {
        switch self {
        case .text(let pattern): return pattern.fits(reply.description)
        case .enhanced(let `class`, let subject, let detail):
            guard let status = reply.status else { return false }
            return (`class` ?? status.class) == status.class && (subject ?? status.subject) == status.subject
                && (detail ?? status.detail) == status.detail
        case .code(let digits):
            let code = [UInt8(reply.code / 100 % 10), UInt8(reply.code / 10 % 10), UInt8(reply.code % 10)]
            return zip(digits, code).allSatisfy { $0 == nil || $0 == $1 }
        case .kind(let word): return kinds.contains { $0.isSame(octets: word) }
        }
    }
}

/// A section `[reaction NAME]` of `limits.ini`.
package struct Reaction: Hashable, Sendable {
    package let name: String
    package let when: [ReplyPattern]
    /// Replies of the kind.
    package let count: Int
    /// In so many milliseconds.
    package let window: Int64
    package let deed: Deed
    package let about: Subject
    /// `limits.ini:12`.
    package let origin: String

    package init(
        name: String,
        when: [ReplyPattern],
        count: Int,
        window: Int64,
        deed: Deed,
        about: Subject = .reply,
        origin: String
    ) {
        (self.name, self.when, self.count) = (name, when, count)
        (self.window, self.deed, self.about, self.origin) = (window, deed, about, origin)
    }

    /// Its steps; nil where it has none.
    package var slope: Slope? {
        switch deed {
        case .slow(let slope), .connections(_, let slope): slope
        case .otherSource(let time): Slope(every: time)
        case .pause, .parkSender, .bounce, .delay: nil
        }
    }

    /// What it is about: for ``Subject/reply`` what the reply speaks of.
    ///
    /// Where there is no such thing (the null sender, an address that the operating system chooses) it is about the next hop.
    package func scope(
        of reply: Reply,
        kinds: [String],
        from lane: Lane,
        provider: String?,
        _ mail: MailParties
    ) -> LimitScope {
        let subject = about == .reply ? Subject(of: reply, kinds: kinds) : about
        if case .otherSource = deed {
            // Whatever the reply speaks of: an address is left, there or with the whole provider.
            guard let address = lane.source?.addresses.first?.description else { return .lane(lane.name) }
            if about == .provider, let provider { return .providerFrom(provider, address) }
            return .laneFrom(lane.name, address)
        }
        switch subject {
        case .provider: return provider.map { .provider($0) } ?? .lane(lane.name)
        case .source:
            guard let address = lane.source?.addresses.first else { return .lane(lane.name) }
            return .laneFrom(lane.name, address.description)
        case .sender: return mail.sender.map { .senderTo($0, lane.name) } ?? .lane(lane.name)
        case .user: return mail.user.map { .user($0) } ?? .lane(lane.name)
        case .reply, .lane: return .lane(lane.name)
        }
    }
}

/// Whose mail it is.
package struct MailParties: Hashable, Sendable {
    /// The sender's domain; nil: none, or nobody knows.
    package var sender: String?
    /// Who handed it in.
    package var user: String?

    package init() {}

    package init(_ envelope: Envelope) {
        if case .address(let address) = envelope.sender { sender = address.domain.name }
        user = envelope.user
    }
}

/// When replies of one kind came about one thing: as many as a reaction counts.
package struct ReplyTally: Hashable, Sendable {
    /// In milliseconds of the uptime, the newest last.
    package private(set) var times: [Int64] = []

    package init() {}

    /// One more came.
    ///
    /// - Returns: whether there are enough; then they are forgotten, and it begins anew, but for what is done to each answer.
    package mutating func add(_ reaction: Reaction, at now: Uptime) -> Bool {
        times.append(now.milliseconds)
        times.removeAll { $0 <= now.milliseconds - reaction.window }
        guard times.count >= reaction.count else { return false }
        if reaction.deed.isOfAnswer { times.removeFirst(times.count - reaction.count) } else { times = [] }
        return true
    }
}

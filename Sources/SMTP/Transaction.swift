// Transaction.swift — one message for some recipients, as the client machine needs to know it; never its bytes.

package import Mail

/// What is offered to a session that is ready; handed on as one reference, since it never changes.
package final class Transaction: Sendable {
    package let envelope: Envelope
    /// Indices into the envelope's recipients; at least one.
    ///
    /// Outcomes come back in this order.
    package let recipients: [UInt32]
    /// Bytes of the whole message, before dot-stuffing.
    package let size: Int
    /// The body has octets above 127.
    package let isEightBit: Bool
    /// A header line has octets above 127, so that SMTPUTF8 is needed whatever the addresses are.
    package let hasUTF8Header: Bool
    /// Why the message can go neither as it is nor converted, in words; nil: it can.
    package let obstacle: String?

    package init(
        envelope: Envelope,
        recipients: [UInt32],
        size: Int,
        isEightBit: Bool,
        hasUTF8Header: Bool = false,
        obstacle: String? = nil
    ) {
        self.envelope = envelope
        self.recipients = recipients.filter { Int($0) < envelope.recipients.count }
        self.size = size
        self.isEightBit = isEightBit
        self.hasUTF8Header = hasUTF8Header
        self.obstacle = obstacle
    }

    /// The recipient at a position of `recipients`.
    func recipient(_ position: Int) -> Recipient { envelope.recipients[Int(recipients[position])] }
}

extension Transaction: Hashable {
    package static func == (left: Transaction, right: Transaction) -> Bool {
        left === right
            || left.envelope == right.envelope && left.recipients == right.recipients && left.size == right.size
                && left.isEightBit == right.isEightBit && left.hasUTF8Header == right.hasUTF8Header
                && left.obstacle == right.obstacle
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(envelope)
        hasher.combine(recipients)
    }
}

/// The transaction that is running: which replies have come, and what they decided.
struct Progress: Sendable {
    /// What is known of one recipient.
    enum Verdict: Sendable {
        /// Nothing yet, or accepted by the peer: the end of the message decides.
        case open
        case settled(Outcome)
    }

    let transaction: Transaction
    /// Replies taken: 0 awaits MAIL's, 1…n a recipient's, n+1 DATA's, n+2 and more the end's.
    var step = 0
    /// DATA is sent: every reply up to its own is awaited.
    var isDataSent = false
    /// By position: bounced before a word was said, so there is neither a command nor a reply.
    ///
    /// Empty: none.
    private var silent: [Bool] = []
    /// Never offered to the peer at all; its outcome only waits for its turn.
    var isTurnedAway = false
    /// By position; empty while nothing but good news has come.
    private var verdicts: [Verdict] = []
    /// Recipients whose verdict is open.
    private(set) var openCount: Int
    /// MAIL was answered with 2yz.
    var senderAccepted = false
    /// The peer got the dot, or may have.
    private(set) var dotSent = false
    /// The dot ends an empty message for nobody (RFC 2920 §3.1).
    private(set) var isAbandoned = false
    /// The reply to the dot, while the outcome waits for the replies of the next transaction.
    var end: Reply?

    init(_ transaction: Transaction) {
        self.transaction = transaction
        openCount = transaction.recipients.count
    }

    var count: Int { transaction.recipients.count }
    var dataStep: Int { count + 1 }

    func isOpen(_ position: Int) -> Bool {
        guard !verdicts.isEmpty else { return true }
        if case .open = verdicts[position] { return true }
        return false
    }

    /// Recipients that the peer has taken, while it is asked about another one; nil: none, or it is asked about something else.
    var takenSoFar: Int? {
        guard (2..<dataStep).contains(step) else { return nil }
        let count = (0..<step - 1).count { isOpen($0) }
        return count > 0 ? count : nil
    }

    mutating func settle(_ position: Int, _ verdict: Verdict) {
        guard isOpen(position) else { return }
        if verdicts.isEmpty { verdicts = Array(repeating: .open, count: count) }
        verdicts[position] = verdict
        openCount -= 1
    }

    /// Settles a recipient that the peer will not be asked about.
    mutating func silence(_ position: Int, _ outcome: Outcome) {
        if silent.isEmpty { silent = Array(repeating: false, count: count) }
        silent[position] = true
        settle(position, .settled(outcome))
    }

    /// The dot goes to the peer.
    mutating func sendDot(isAbandoned: Bool = false) {
        self.isAbandoned = isAbandoned
        dotSent = true
    }

    /// Moves on to the next reply that will come.
    mutating func advance() {
        step += 1
        if silent.isEmpty { return }
        while (1...count).contains(step), silent[step - 1] { step += 1 }
    }

    /// Gives every recipient that is open the same end.
    mutating func settleOpen(_ verdict: Verdict) {
        guard openCount > 0 else { return }
        if verdicts.isEmpty {
            verdicts = Array(repeating: verdict, count: count)
        } else {
            for position in verdicts.indices where isOpen(position) { verdicts[position] = verdict }
        }
        openCount = 0
    }

    /// One entry per recipient; nil was not tried.
    func outcomes() -> [Outcome?] {
        guard !verdicts.isEmpty else { return Array(repeating: nil, count: count) }
        return verdicts.map { verdict in
            if case .settled(let outcome) = verdict { outcome } else { nil }
        }
    }
}

// TransactionResult.swift — one transaction seen as a whole: how the others fared with whom a recipient failed. Pure.

import Mail

/// The outcomes of one transaction, in the order of its RCPT commands.
struct TransactionResult: Sendable {
    private let outcomes: [Outcome?]
    private let domains: [Domain]
    /// The last recipient for whom the peer took the message, or refused it for good at its end.
    private let lastServed: Int?
    /// The domain of all those; nil when there are several, or none.
    private let onlyDomain: Domain?
    private let servedCount: Int

    init(_ outcomes: [Outcome?], _ domains: [Domain]) {
        self.outcomes = outcomes
        self.domains = domains
        var (last, count): (Int?, Int) = (nil, 0)
        var (domain, isOne): (Domain?, Bool) = (nil, true)
        if outcomes.count > 1 {
            for (index, outcome) in outcomes.enumerated() where outcome?.isServed ?? false {
                if let domain, domain != domains[index] { isOne = false }
                (last, count, domain) = (index, count + 1, domains[index])
            }
        }
        lastServed = last
        servedCount = count
        onlyDomain = isOne ? domain : nil
    }

    /// How the others fared with the recipient at an index.
    func company(at index: Int) -> Company {
        guard let lastServed else {
            let isShared = outcomes.count > 1 && outcomes[index]?.failure?.scope == .message
            return isShared ? .together : .nobody
        }
        if let onlyDomain, onlyDomain != domains[index] { return .otherDomain }
        return index > lastServed ? .othersBefore : .others
    }

    /// What the peer has shown about how much one transaction may hold.
    var lesson: Lesson? {
        guard lastServed != nil else {
            let isTooMany = outcomes.count > 1 && outcomes.allSatisfy { $0?.saysTooManyTogether ?? false }
            return isTooMany ? .recipients(outcomes.count / 2) : nil
        }
        var isAboutDomains = true
        var isFull = false
        for (index, outcome) in outcomes.enumerated() {
            guard let failure = outcome?.failure else { continue }
            let company = company(at: index)
            guard nextStep(after: failure, hostsLeft: 0, in: company) == .nextTransaction else { continue }
            isFull = true
            if company != .otherDomain || failure.reply.saysTooMany { isAboutDomains = false }
        }
        guard isFull else { return nil }
        return isAboutDomains ? .oneDomain : .recipients(servedCount)
    }
}

extension Outcome {
    var isDelivered: Bool { if case .delivered = self { true } else { false } }

    /// The peer took the message for this recipient, or judged it at its end: the transaction got somewhere.
    fileprivate var isServed: Bool {
        switch self {
        case .delivered: true
        case .deferred: false
        case .bounced(let failure):
            (failure.stage == .body || failure.stage == .endOfData) && !failure.reply.saysTooMany
        }
    }

    fileprivate var saysTooManyTogether: Bool {
        guard let failure, failure.scope == .message, !failure.mayBeDuplicate else { return false }
        return failure.reply.saysTooMany
    }
}

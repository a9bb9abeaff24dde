// TransactionTerms.swift — how many recipients a lane takes in one transaction: what was learnt of it, and what an attempt
// teaches. Pure, but for the memory that is asked.

import Departure
import Mail

/// What one transaction of a lane may hold.
struct TransactionTerms: Hashable, Sendable {
    /// Recipients; nil: as many as there are.
    var recipients: Int?
    /// All of them of one domain.
    var isOneDomain = false

    init() {}

    /// What is known of a lane.
    ///
    /// - Parameter lane: its description; not made where nothing is known of anybody.
    init(_ memory: PeerMemory, of lane: @autoclosure () -> String, at now: Timestamp) {
        if memory.isEmpty { return }
        let lane = lane()
        recipients = memory.value(of: .recipients, of: lane, at: now)
        isOneDomain = memory.knows(.oneDomain, of: lane, at: now)
    }

    /// The same, with so many recipients at most.
    func atMost(_ most: Int?) -> TransactionTerms {
        guard let most else { return self }
        var terms = self
        terms.recipients = min(most, recipients ?? .max)
        return terms
    }

    /// Sorts the recipients of a parcel: who is asked about, and who is a copy of one of those.
    ///
    /// - Returns: positions in `addresses`; who is in neither list waits for the next transaction.
    func choose(_ addresses: [EmailAddress]) -> (asked: [Int], copies: [(copy: Int, of: Int)]) {
        var firsts: [EmailAddress: Int] = Dictionary(minimumCapacity: addresses.count)
        var asked: [Int] = []
        var copies: [(copy: Int, of: Int)] = []
        for (position, address) in addresses.enumerated() {
            if let first = firsts[address] {
                copies.append((position, first))
                continue
            }
            if let recipients, asked.count >= recipients { continue }
            if isOneDomain, let first = asked.first, addresses[first].domain != address.domain { continue }
            firsts[address] = position
            asked.append(position)
        }
        return (asked, copies)
    }
}

/// What an attempt has shown about the transactions of a lane.
enum Lesson: Hashable, Sendable {
    case recipients(Int)
    case oneDomain
}

extension PeerMemory {
    /// Takes a lesson about a lane.
    func learn(_ lesson: Lesson, about lane: String, at now: Timestamp) {
        switch lesson {
        case .recipients(let count): learn(.recipients, count, of: lane, at: now)
        case .oneDomain: learn(.oneDomain, of: lane, at: now)
        }
    }
}

// Attempt.swift — a parcel on its way through the hosts of its route, with what the hosts so far have said.

import Config
import Mail
import MessageFormat
import NIOCore
import Queue
import SMTP
import Storage

/// A parcel in flight.
struct Attempt: Sendable {
    let assignment: Assignment
    /// What is known by position in the parcel's recipients; empty before the first host.
    private var known: [Outcome?] = []
    /// Positions that the next transaction asks about; nil: all.
    private var asked: [Int]?
    /// Positions of addresses that stand in the parcel already: said once, and each gets what the first one gets.
    private var copies: [(copy: Int, of: Int)] = []
    /// Whom it met so far.
    var trail = Trail()
    /// Each recipient gets the message from a sender of its own; nil: the envelope's.
    private let returnPaths: ReturnPaths?
    /// Milliseconds before which a reaction does not want it tried again.
    var delay: Int64 = 0
    /// The reaction that says so.
    var rule: WaitRule?

    /// - Parameter terms: what a transaction of the lane may hold; asked for only where there are several recipients.
    init(_ assignment: Assignment, returnPaths: ReturnPaths? = nil, terms: @autoclosure () -> TransactionTerms) {
        self.assignment = assignment
        self.returnPaths = returnPaths.flatMap { $0.covers(assignment.envelope.sender) ? $0 : nil }
        let parcel = assignment.parcel
        guard parcel.recipients.count > 1 else { return }
        let terms = self.returnPaths == nil ? terms() : terms().atMost(1)
        let chosen = terms.choose(parcel.recipients.map { assignment.envelope.recipients[Int($0)].address })
        copies = chosen.copies
        if chosen.asked.count < parcel.recipients.count { asked = chosen.asked }
    }

    var parcel: Parcel { assignment.parcel }

    /// What the session offers to its machine.
    ///
    /// - Parameters:
    ///   - conversion: what the session makes of the message; nil: it goes as it is.
    ///   - obstacle: why it can go neither way.
    func transaction(as conversion: Conversion? = nil, obstacle: String? = nil) -> Transaction {
        let recipients = asked.map { $0.map { parcel.recipients[$0] } } ?? parcel.recipients
        let content = assignment.content
        var envelope = assignment.envelope
        if let returnPaths, let only = recipients.first, recipients.count == 1 {
            let recipient = envelope.recipients[Int(only)].address
            envelope.sender = .address(returnPaths.sender(of: parcel.id.message, to: recipient, at: .now()))
        }
        return Transaction(
            envelope: envelope,
            recipients: recipients,
            size: conversion?.size ?? content.size,
            isEightBit: content.isEightBit && conversion?.isSevenBit != true,
            hasUTF8Header: envelope.needsUTF8 && content.isEightBit && content.hasEightBitHeader,
            obstacle: obstacle
        )
    }

    /// Notes what a host said.
    ///
    /// - Parameters:
    ///   - hostsLeft: hosts of the route behind the one that spoke.
    ///   - lacksTLS: it spoke in the clear, for no other reason than that TLS came to nothing.
    /// - Returns: the attempt as the next host gets it, nil when every recipient has its outcome (see ``outcomes``); and what
    ///   the host has shown about its transactions.
    mutating func take(_ outcomes: [Outcome?], hostsLeft: Int, lacksTLS: Bool) -> (next: Attempt?, lesson: Lesson?) {
        // The usual end needs no sorting.
        if asked == nil, outcomes.allSatisfy({ $0?.isDelivered ?? false }) {
            known = outcomes
            return (nil, nil)
        }
        let positions = asked ?? Array(parcel.recipients.indices)
        if known.isEmpty { known = Array(repeating: nil, count: parcel.recipients.count) }
        let table = TransactionResult(
            outcomes,
            positions.map { assignment.envelope.recipients[Int(parcel.recipients[$0])].address.domain }
        )
        var again: [Int] = []
        for (index, (position, outcome)) in zip(positions, outcomes).enumerated() {
            known[position] = outcome
            guard let failure = outcome?.failure else { continue }
            let company = table.company(at: index)
            switch nextStep(after: failure, hostsLeft: hostsLeft, in: company, lacksTLS: lacksTLS) {
            case .tryNextHost: again.append(position)
            case .settle(let final): known[position] = final
            case .nextTransaction: known[position] = nil
            }
        }
        guard let first = again.first else { return (nil, table.lesson) }
        if let failure = known[first]?.failure { trail.add(failure) }
        var next = self
        next.asked = again
        return (next, table.lesson)
    }

    /// By position; nil: not tried, due again at once.
    var outcomes: [Outcome?] {
        guard !known.isEmpty else { return Array(repeating: nil, count: parcel.recipients.count) }
        guard !copies.isEmpty else { return known }
        var all = known
        for (copy, first) in copies { all[copy] = known[first] }
        return all
    }

    /// Every recipient gets this outcome, whatever came before.
    func settled(_ outcome: Outcome) -> [Outcome?] { Array(repeating: outcome, count: parcel.recipients.count) }
}

extension Content {
    /// Whether an octet above 127 stands in the header.
    ///
    /// What is in a file is taken to have one.
    fileprivate var hasEightBitHeader: Bool {
        guard case .memory(let bytes) = body else { return true }
        return bytes.withUnsafeReadableBytes { bytes in
            bytes[..<HeaderBlock.size(in: bytes)].contains { $0 > 127 }
        }
    }
}

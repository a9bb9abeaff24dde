// Attempt.swift — a parcel on its way through the hosts of its route, with what the hosts so far have said.

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
    /// Positions that the next host is asked about; nil: all.
    private var open: [Int]?
    /// Whom it met so far.
    var trail = Trail()

    init(_ assignment: Assignment) { self.assignment = assignment }

    var parcel: Parcel { assignment.parcel }

    /// What the session offers to its machine.
    ///
    /// - Parameters:
    ///   - conversion: what the session makes of the message; nil: it goes as it is.
    ///   - obstacle: why it can go neither way.
    func transaction(as conversion: Conversion? = nil, obstacle: String? = nil) -> Transaction {
        let recipients = open.map { $0.map { parcel.recipients[$0] } } ?? parcel.recipients
        let content = assignment.content
        let envelope = assignment.envelope
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
    /// - Returns: nil when every recipient has its outcome (see ``outcomes``), else the attempt as the next host gets it.
    mutating func take(_ outcomes: [Outcome?], hostsLeft: Int, lacksTLS: Bool) -> Attempt? {
        var again: [Int] = []
        let positions = open ?? Array(parcel.recipients.indices)
        if known.isEmpty { known = Array(repeating: nil, count: parcel.recipients.count) }
        for (position, outcome) in zip(positions, outcomes) {
            known[position] = outcome
            let failure: Failure
            switch outcome {
            case nil, .delivered: continue
            case .bounced where !lacksTLS: continue
            case .deferred(let trouble), .bounced(let trouble): failure = trouble
            }
            switch nextStep(after: failure, hostsLeft: hostsLeft, lacksTLS: lacksTLS) {
            case .tryNextHost: again.append(position)
            case .settle(let final): known[position] = final
            }
        }
        guard let first = again.first else { return nil }
        if case .deferred(let failure) = known[first] { trail.add(failure) }
        var next = self
        next.open = again
        return next
    }

    /// By position; nil: not tried, due again at once.
    var outcomes: [Outcome?] { known.isEmpty ? Array(repeating: nil, count: parcel.recipients.count) : known }

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

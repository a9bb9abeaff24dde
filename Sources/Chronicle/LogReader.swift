// LogReader.swift — turns what the queue's log says into history, step by step: read, gather, commit with the place.
//
// Guarantees: each event stands in the history once, wherever the power goes: the place and the events are one transaction, and
// what was read can be read again until they are on the disk. Facts that may stand in the log twice, because a write of them did
// not end well, are compared with what is there.

package import History
package import Mail
import MessageFormat
package import Storage

/// Follows the log of a spool.
package struct LogReader: ~Copyable {
    /// Bytes of the log that are read for one commit.
    private static let stepBytes = 4 << 20
    /// Milliseconds after which a commit is made durable, so that the log is not read twice after a power cut.
    private static let durableAfter: Int64 = 10_000

    private let spool: any Journal
    private let history: any Chronicle
    private let names: PrivateNames
    private let tagHeader: [UInt8]?
    private var contexts: ContextMemory
    /// Where to go on.
    package private(set) var position: JournalPosition?
    private var durableSegment: UInt32
    private var lastDurable: Timestamp

    /// - Parameters:
    ///   - tagHeader: the name of a field in small letters; nil: no tags.
    ///   - memory: bytes for what is known of messages that are under way.
    package init(
        _ spool: any Journal,
        _ history: any Chronicle,
        names: PrivateNames,
        tagHeader: String?,
        memory: Int = 32 << 20,
        now: Timestamp
    ) {
        self.spool = spool
        self.history = history
        self.names = names
        self.tagHeader = tagHeader.map { Array($0.utf8) }
        contexts = ContextMemory(limit: memory / 2)
        position = JournalPosition(stored: history.position)
        durableSegment = position?.segment ?? 0
        lastDurable = now
        if let position { spool.passed(position) }
    }

    /// What a step came to.
    package struct Step: Hashable, Sendable {
        /// Nothing more is on the disk.
        package var isAtEnd: Bool
        /// Segments that were gone before they were read.
        package var lostSegments: Int
    }

    /// Reads some of the log and writes what it tells.
    ///
    /// Blocks.
    /// - Throws: ``HistoryError``; the same is read again by the next step.
    package mutating func step(now: Timestamp, atMost bytes: Int = stepBytes) throws(HistoryError) -> Step {
        var items: [HistoryItem] = []
        var failure: HistoryError?
        do throws(HistoryError) {
            let reading: JournalReading
            do throws(QueueError) {
                reading = try spool.follow(from: position, atMost: bytes) { entry in
                    // What follows is read again.
                    guard failure == nil else { return }
                    do throws(HistoryError) { try take(entry, &items) } catch { failure = error }
                }
            } catch {
                throw .broken("\(error)")
            }
            if let failure { throw failure }
            if reading.lostSegments > 0 { items.insert(.event(Self.truncated(reading.lostSegments, now)), at: 0) }
            try commit(items, reading, now)
            return Step(isAtEnd: reading.isAtEnd, lostSegments: reading.lostSegments)
        } catch {
            // What was gathered of these messages is gathered again.
            contexts.forgetAll()
            throw error
        }
    }

    private mutating func commit(
        _ items: [HistoryItem],
        _ reading: JournalReading,
        _ now: Timestamp
    ) throws(HistoryError) {
        guard let next = reading.position, !items.isEmpty || next != position else { return }
        // A segment is given back when it is known to be read, whatever happens to the power.
        let isDurable =
            next.segment != durableSegment || now.milliseconds(since: lastDurable) >= Self.durableAfter
        try history.commit(items, at: next.stored, durably: isDurable, now: now)
        position = next
        guard isDurable else { return }
        spool.passed(next)
        durableSegment = next.segment
        lastDurable = now
    }

    private static func truncated(_ segments: Int, _ now: Timestamp) -> CommandFact {
        var fact = CommandFact(.journalTruncated, at: now)
        fact.count = segments
        fact.text = "segments of the queue were needed again before their events were read"
        return fact
    }

    // MARK: - One record

    private mutating func take(_ entry: JournalEntry, _ items: inout [HistoryItem]) throws(HistoryError) {
        switch entry {
        case .message(let message):
            // A copy tells nothing new.
            guard !message.isCopy else { return }
            let context = context(of: message)
            contexts.add(context)
            items.append(.accepted(context))
        case .note(let id, let written, let isEnd):
            var facts = names.covered(written)
            if facts.mayBeThere { facts = try news(of: facts, about: id, items) }
            let known = isEnd ? contexts.forget(id) : contexts[id]
            if !facts.isEmpty {
                let context = if let known { known } else { try context(of: id, isEnd: isEnd, &items) }
                items.append(.note(id, facts, isEnd: isEnd, context: context))
            }
        }
    }

    private func context(of message: JournalMessage) -> MessageContext {
        let envelope = message.envelope
        let glance = HeaderGlance(message.beginning, tagHeader: tagHeader)
        var recipients: [MessageContext.Recipient] = []
        recipients.reserveCapacity(envelope.recipients.count)
        for (place, recipient) in envelope.recipients.enumerated() {
            let address = names.covered(recipient.address.description)
            recipients.append(MessageContext.Recipient(UInt32(truncatingIfNeeded: place), address))
        }
        let sender: String =
            switch envelope.sender {
            case .null: "<>"
            case .address(let address): names.covered(address.description)
            }
        return MessageContext(
            id: message.id,
            acceptedAt: message.acceptedAt,
            size: message.size,
            sender: sender,
            recipients: recipients,
            headerMessageID: glance.messageID,
            tag: glance.tag,
            user: envelope.user,
            client: envelope.notes.client
        )
    }

    /// What is known of a message that is not in memory.
    ///
    /// - Parameter isEnd: nobody asks again.
    private mutating func context(
        of id: QueueID,
        isEnd: Bool,
        _ items: inout [HistoryItem]
    ) throws(HistoryError) -> MessageContext? {
        guard id.rawValue != 0 else { return nil }
        for found in try history.contexts(near: id) { contexts.add(found) }
        if contexts[id] == nil {
            do throws(QueueError) {
                if let message = try spool.message(id) {
                    let context = context(of: message)
                    contexts.add(context)
                    // It was accepted by another node, or before anybody listened.
                    items.append(.adopted(context))
                }
            } catch {
                throw .broken("\(error)")
            }
        }
        return isEnd ? contexts.forget(id) : contexts[id]
    }

    /// Those of the facts that history does not have.
    private func news(
        of facts: Facts,
        about id: QueueID,
        _ items: [HistoryItem]
    ) throws(HistoryError) -> Facts {
        var known = Set(try history.facts(of: id).flatMap(\.each))
        for case .note(id, let pending, _, _) in items { known.formUnion(pending.each) }
        var reports = Set(known.flatMap(\.reports))
        var fresh = Facts.none
        for fact in facts.each where !known.contains(fact) {
            // A report that was sent again has another time, and is the same.
            guard fact.reports.allSatisfy({ reports.insert($0).inserted }) else { continue }
            fresh = fresh.followed(by: fact)
        }
        return fresh
    }
}

extension Facts {
    fileprivate var reports: [ReportFact.Key] {
        decoded.compactMap { if case .report(let report) = $0 { report.key } else { nil } }
    }
}

extension JournalPosition {
    /// As a history keeps it.
    var stored: [UInt8] {
        var bytes: [UInt8] = []
        for number in [segment, offset, seed] { bytes.append(number: number) }
        return bytes
    }

    /// - Returns: nil for what is no place.
    init?(stored bytes: [UInt8]) {
        let numbers: [UInt32]? = bytes.withUnsafeBytes { raw in
            var reader = StoredReader(raw)
            return try? [reader.number(), reader.number(), reader.number()]
        }
        guard let numbers, bytes.count == 12 else { return nil }
        self.init(segment: numbers[0], offset: numbers[1], seed: numbers[2])
    }
}

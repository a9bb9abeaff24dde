// HistoryBook+Erasing.swift — what is known of a person is forgotten: the address, and what servers said about it.
//
// Numbers and kinds of events stay, so nobody who reads on is confused. Mail that is still under way is not touched: what
// becomes of it is told under its own name.

import Database
package import Mail

extension HistoryBook {
    /// What stands in place of an address.
    package static let erased = "erased"

    /// Forgets a recipient, durably, and says that somebody was forgotten without a name.
    ///
    /// Blocks.
    /// - Parameter address: as it stands in this history.
    /// - Returns: how many messages were for it.
    package func erase(recipient address: String, actor: String?, now: Timestamp) throws(HistoryError) -> Int {
        let count = try write { writing throws(DatabaseError) in
            let database = writing.database
            try database.run("PRAGMA secure_delete = ON")
            try database.sync(.atOnce)
            defer { try? database.sync(.later) }
            let messages = try Self.messages(to: address, database)
            try database.transaction { () throws(DatabaseError) in
                for part in try Self.parts(database) {
                    var blocks: Set<UInt64> = []
                    let index = IndexStore(database, part.number)
                    for id in messages.keys { blocks.formUnion(try index.blocks(of: SearchKey.message(id))) }
                    for first in blocks.sorted() { try Self.rewrite(first, part, messages, database) }
                }
            } failing: {
                $0
            }
            // The log of the database has the old pages.
            try database.run("PRAGMA wal_checkpoint(TRUNCATE)")
            return messages.count
        }
        var data = EventData()
        (data.actor, data.count) = (actor, count)
        try add(.historyErased, data, at: now)
        return count
    }

    /// Messages for an address, with its places in their envelopes.
    private static func messages(
        to address: String,
        _ database: Database
    ) throws(DatabaseError) -> [QueueID: Set<UInt32>] {
        var messages: [QueueID: Set<UInt32>] = [:]
        for (_, blocks) in try places(of: [SearchKey.recipient(address)], database) {
            for (first, body) in blocks {
                var scan = StoryScan(body, first: first)
                while let item = scan.item() {
                    let context: MessageContext
                    switch item.entry {
                    case .message(let begun), .adopted(let begun): context = begun
                    case .context, .note, .event: continue
                    }
                    let places = context.recipients.filter { isSame($0.address, address) }.map(\.place)
                    if !places.isEmpty { messages[context.id] = Set(places) }
                }
            }
        }
        return messages
    }

    private static func isSame(_ a: String, _ b: String) -> Bool {
        a.lowercasedASCII.isSame(octets: b.lowercasedASCII)
    }

    private static func rewrite(
        _ first: UInt64,
        _ part: Part,
        _ messages: [QueueID: Set<UInt32>],
        _ database: Database
    ) throws(DatabaseError) {
        guard let body = try block(first, of: part, database) else { return }
        var scan = StoryScan(body, first: first)
        var block = StoryBlock(first: first)
        while let item = scan.item() { block.add(item.entry.erasing(messages)) }
        let statement = try database.statement("UPDATE block_\(part.number) SET body = ? WHERE first = ?")
        statement.bind(1, block.bytes)
        statement.bind(2, Int64(bitPattern: first))
        try statement.run()
    }
}

extension StoryEntry {
    /// The same without the recipients at some places of some messages.
    fileprivate func erasing(_ messages: [QueueID: Set<UInt32>]) -> StoryEntry {
        switch self {
        case .message(let context): .message(context.replacing(messages[context.id] ?? [], by: HistoryBook.erased))
        case .adopted(let context): .adopted(context.replacing(messages[context.id] ?? [], by: HistoryBook.erased))
        case .context(let context): .context(context.replacing(messages[context.id] ?? [], by: HistoryBook.erased))
        case .note(let id, let facts, let isEnd): .note(id, facts.erasing(messages[id] ?? []), isEnd: isEnd)
        case .event: self
        }
    }
}

extension Facts {
    /// What servers say about a recipient often has its address in it.
    fileprivate func erasing(_ places: Set<UInt32>) -> Facts {
        guard !places.isEmpty else { return self }
        return each.reduce(Facts.none) { erased, piece in
            guard case .attempt(var attempt)? = piece.decoded.first else { return erased.followed(by: piece) }
            for index in attempt.parts.indices where !places.isDisjoint(with: attempt.parts[index].recipients) {
                attempt.parts[index].words.text = HistoryBook.erased
            }
            return erased.followed(by: Facts(.attempt(attempt)))
        }
    }
}

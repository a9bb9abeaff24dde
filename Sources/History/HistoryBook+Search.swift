// HistoryBook+Search.swift — what is known of a message: its context, its facts, its timeline.

import Database
package import Mail

extension HistoryBook {
    /// Bytes that the database takes.
    ///
    /// Blocks.
    package func usedBytes() throws(HistoryError) -> Int {
        try read { database throws(DatabaseError) in try database.usedBytes() }
    }

    /// What is known of a message that was accepted earlier, and of those that stand in the same block.
    ///
    /// Blocks. They were accepted together, so the next question is often about one of them.
    package func contexts(near id: QueueID) throws(HistoryError) -> [MessageContext] {
        try read { database throws(DatabaseError) in
            for (_, blocks) in try Self.places(of: [SearchKey.message(id)], database) {
                for (first, body) in blocks.reversed() {
                    var found: [MessageContext] = []
                    var scan = StoryScan(body, first: first)
                    while let item = scan.item() {
                        switch item.entry {
                        case .message(let context), .adopted(let context): found.append(context)
                        // One that tells of some recipients only is no use to others.
                        case .context(let context) where context.recipients.count == context.recipientCount:
                            found.append(context)
                        default: break
                        }
                    }
                    if found.contains(where: { $0.id == id }) { return found }
                }
            }
            return []
        }
    }

    /// The facts that are known of a message; of none where the id is zero.
    ///
    /// Blocks.
    package func facts(of id: QueueID) throws(HistoryError) -> [Facts] {
        try read { database throws(DatabaseError) in
            var found: [Facts] = []
            try Self.visit(id, database) { item in
                if case .note(_, let facts, _) = item.entry { found.append(facts) }
            }
            return found
        }
    }

    /// Everything that happened to a message, in order.
    ///
    /// Blocks.
    /// - Parameter limit: the newest are left out beyond it.
    package func timeline(of id: QueueID, atMost limit: Int = 10_000) throws(HistoryError) -> [Event] {
        try read { database throws(DatabaseError) in
            var events: [Event] = []
            try Self.visit(id, database) { item in
                if events.count < limit { events += item.events(epoch: epoch, node: options.node) }
            }
            return events
        }
    }

    /// Goes through the entries of a message in order.
    static func visit(
        _ id: QueueID,
        _ database: Database,
        _ body: (StoryScan.Item) -> Void
    ) throws(DatabaseError) {
        for (_, blocks) in try places(of: [SearchKey.message(id)], database).reversed() {
            for (first, bytes) in blocks {
                var scan = StoryScan(bytes, first: first)
                while let item = scan.item(of: id) { body(item) }
            }
        }
    }

    /// The blocks that have all of the keys, newest partition first, oldest block first.
    static func places(
        of keys: [UInt64],
        _ database: Database
    ) throws(DatabaseError) -> [(Part, [(first: UInt64, body: [UInt8])])] {
        var found: [(Part, [(first: UInt64, body: [UInt8])])] = []
        for part in try parts(database).reversed() {
            var blocks: [(first: UInt64, body: [UInt8])] = []
            for first in try numbers(of: keys, in: part, database) {
                if let body = try block(first, of: part, database) { blocks.append((first, body)) }
            }
            if !blocks.isEmpty { found.append((part, blocks)) }
        }
        return found
    }

    /// Numbers of the blocks of a partition that have all of the keys, rising.
    static func numbers(of keys: [UInt64], in part: Part, _ database: Database) throws(DatabaseError) -> [UInt64] {
        let index = IndexStore(database, part.number)
        var common: Set<UInt64>?
        for key in keys {
            let blocks = try index.blocks(of: key)
            common = common?.intersection(blocks) ?? blocks
            if common?.isEmpty ?? false { break }
        }
        return (common ?? []).sorted()
    }

    static func block(_ first: UInt64, of part: Part, _ database: Database) throws(DatabaseError) -> [UInt8]? {
        let statement = try database.statement("SELECT body FROM block_\(part.number) WHERE first = ?")
        statement.bind(1, Int64(bitPattern: first))
        defer { statement.reset() }
        return try statement.step() ? statement.bytes(0) : nil
    }
}

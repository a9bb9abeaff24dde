// HistoryBook+Query.swift — the search: by keys where there are some, else back through time, within a bound of work.

import Database
package import Mail

extension HistoryBook {
    /// Blocks read for one page; beyond, the page ends with a place to go on.
    private static let mostBlocks = 512

    /// Finds messages, the newest first.
    ///
    /// Blocks.
    /// - Parameter limit: of messages; there may be fewer although there are more to come.
    package func search(_ query: HistoryQuery, atMost limit: Int) throws(HistoryError) -> HistoryPage {
        let newest = span.newest
        return try read { database throws(DatabaseError) in
            var page = HistoryPage()
            var looked = 0
            let before = query.before ?? newest + 1
            for part in try Self.parts(database).reversed() where part.first < before {
                for first in try blocks(of: part, before, query, database) {
                    if looked >= Self.mostBlocks {
                        page.next = page.next ?? first + 1
                        return page
                    }
                    looked += 1
                    guard let body = try Self.block(first, of: part, database) else { continue }
                    for (seq, story) in try stories(body, first, before, query, database) {
                        if page.stories.count >= limit {
                            page.next = seq + 1
                            return page
                        }
                        page.stories.append(story)
                    }
                }
            }
            return page
        }
    }

    /// Everything that is known of a message; nil when nothing is.
    ///
    /// Blocks.
    package func story(of id: QueueID) throws(HistoryError) -> MessageStory? {
        try read { database throws(DatabaseError) in try whole(id, database) }
    }

    /// Numbers of the blocks that may hold such messages, the newest first.
    private func blocks(
        of part: Part,
        _ before: UInt64,
        _ query: HistoryQuery,
        _ database: Database
    ) throws(DatabaseError) -> [UInt64] {
        let keys = query.filter.keys
        if !keys.isEmpty {
            return try Self.numbers(of: keys, in: part, database).filter { $0 < before }.reversed()
        }
        let statement = try database.statement(
            "SELECT first FROM block_\(part.number) WHERE first < ? ORDER BY first DESC LIMIT ?"
        )
        statement.bind(1, Int64(bitPattern: before))
        statement.bind(2, Int64(Self.mostBlocks + 1))
        defer { statement.reset() }
        var numbers: [UInt64] = []
        while try statement.step() { numbers.append(UInt64(bitPattern: statement.integer(0))) }
        return numbers
    }

    /// The messages that begin in a block and fit, the newest first.
    private func stories(
        _ body: [UInt8],
        _ first: UInt64,
        _ before: UInt64,
        _ query: HistoryQuery,
        _ database: Database
    ) throws(DatabaseError) -> [(UInt64, MessageStory)] {
        var found: [(seq: UInt64, context: MessageContext)] = []
        var items: [QueueID: [StoryScan.Item]] = [:]
        var ended: Set<QueueID> = []
        var scan = StoryScan(body, first: first)
        while let item = scan.item(where: { isMessage, id in isMessage || items[id] != nil }) {
            switch item.entry {
            case .message(let context), .adopted(let context):
                guard item.first < before, query.filter.fits(context) else { continue }
                found.append((item.first, context))
                items[context.id] = [item]
            case .note(let id, _, let isEnd):
                guard items[id] != nil else { continue }
                items[id]?.append(item)
                if isEnd { ended.insert(id) }
            case .context, .event: continue
            }
        }
        var stories: [(UInt64, MessageStory)] = []
        for (seq, context) in found.reversed() {
            // Most stories end where they begin.
            let story: MessageStory?
            if ended.contains(context.id) {
                let events = (items[context.id] ?? []).flatMap { $0.events(epoch: epoch, node: options.node) }
                story = MessageStory(context, events)
            } else {
                story = try whole(context.id, database)
            }
            if let story, query.fits(story) { stories.append((seq, story)) }
        }
        return stories
    }

    private func whole(_ id: QueueID, _ database: Database) throws(DatabaseError) -> MessageStory? {
        var context: MessageContext?
        var events: [Event] = []
        try Self.visit(id, database) { item in
            if let known = item.context, known.recipients.count >= context?.recipients.count ?? 0 { context = known }
            if events.count < 10_000 { events += item.events(epoch: epoch, node: options.node) }
        }
        return context.map { MessageStory($0, events) }
    }
}

extension EventFilter {
    /// Under which keys the block of such a message is found.
    var keys: [UInt64] {
        var keys: [UInt64] = []
        if let message { keys.append(SearchKey.message(message)) }
        switch recipient {
        case .address(let address): keys.append(SearchKey.recipient(address.description))
        case .domain(let domain): keys.append(SearchKey.domain(domain.name))
        case .null, nil: break
        }
        switch sender {
        case .address(let address): keys.append(SearchKey.sender(address.description))
        case .domain(let domain): keys.append(SearchKey.domain(domain.name))
        case .null: keys.append(SearchKey.sender("<>"))
        case nil: break
        }
        if let domain { keys.append(SearchKey.domain(domain.name)) }
        if let headerMessageID { keys.append(SearchKey.headerMessageID(headerMessageID)) }
        if let tag { keys.append(SearchKey.tag(tag)) }
        return keys
    }

    /// What can be told from a message alone.
    fileprivate func fits(_ context: MessageContext) -> Bool {
        if let message, context.id != message { return false }
        if let since, context.acceptedAt < since { return false }
        if let before, context.acceptedAt >= before { return false }
        if let tag, !Self.isSame(tag, context.tag) { return false }
        if let headerMessageID, !Self.isSame(headerMessageID, context.headerMessageID) { return false }
        if let sender, !sender.fits(context.sender) { return false }
        if let recipient, !context.recipients.contains(where: { recipient.fits($0.address) }) { return false }
        if let domain {
            let meant = AddressFilter.domain(domain)
            guard meant.fits(context.sender) || context.recipients.contains(where: { meant.fits($0.address) }) else {
                return false
            }
        }
        return true
    }
}

extension HistoryQuery {
    /// One recipient must fit everything that is asked of recipients.
    fileprivate func fits(_ story: MessageStory) -> Bool {
        guard
            !statuses.isEmpty || filter.reason != nil || filter.replyClass != nil || filter.code != nil
                || filter.route != nil
        else {
            return true
        }
        return story.fates.contains { fate in
            if !statuses.isEmpty, !statuses.contains(fate.status) { return false }
            if let recipient = filter.recipient, !recipient.fits(fate.address) { return false }
            let said = story.events.filter { $0.data.recipient == fate.address }
            if let wanted = filter.replyClass, !said.contains(where: { $0.data.reason?.replyClass == wanted }) {
                return false
            }
            if let reason = filter.reason, !said.contains(where: { $0.data.reason == reason }) { return false }
            if let code = filter.code, !said.contains(where: { $0.data.smtp?.code == code }) { return false }
            if let route = filter.route, !said.contains(where: { EventFilter.isSame(route, $0.data.route) }) {
                return false
            }
            return true
        }
    }
}

// WebhookSender+Reading.swift — what the history has for a receiver: the next body, or what to do instead.

import Config
import History
import Mail

extension WebhookSender {
    /// What a look into the history came to.
    enum Find {
        /// There is nothing new.
        case nothing
        /// Everything up to here is not for this receiver.
        case passed(UInt64)
        /// The stretch holds nothing more for this receiver.
        case over(Int)
        /// Events before this one are no longer kept.
        case lost(UInt64)
        /// A body is not full yet, and may wait until then.
        case gathering(Timestamp)
        /// A body's worth.
        case events([Event])
    }

    func read(_ wish: EndpointLine.Wish, for receiver: Receiver, at now: Timestamp) throws(HistoryError) -> Find {
        var filter = EventFilter()
        let types = receiver.endpoint.eventTypes
        if types.count < EventType.allCases.count { filter.types = types }
        do throws(HistoryError) {
            switch wish {
            case .news(let after):
                guard !types.isEmpty, parts.events.span.newest > after else {
                    return types.isEmpty && parts.events.span.newest > after
                        ? .passed(parts.events.span.newest) : .nothing
                }
                return try news(behind: after, filter, receiver, at: now)
            case .stretch(let stretch):
                guard !types.isEmpty else { return .over(stretch.id) }
                return try rest(of: stretch, filter, receiver)
            }
        } catch {
            guard case .tooOld(let oldest) = error else { throw error }
            return .lost(oldest)
        }
    }

    private func news(
        behind after: UInt64,
        _ filter: EventFilter,
        _ receiver: Receiver,
        at now: Timestamp
    ) throws(HistoryError) -> Find {
        let size = receiver.endpoint.size
        let page = try parts.events.events(after: after, matching: filter, atMost: max(size, 20))
        let wanted = page.events.filter(receiver.endpoint.wants)
        guard !wanted.isEmpty else { return page.last > after ? .passed(page.last) : .nothing }
        let body = Self.body(wanted, size)
        let isFull = body.count == size || body.count < wanted.count || !page.isAtEnd
        if !isFull {
            let until = (receiver.noticed ?? now).adding(milliseconds: Self.gathering)
            if until > now { return .gathering(until) }
        }
        return .events(body)
    }

    private func rest(
        of stretch: EndpointLine.Stretch,
        _ filter: EventFilter,
        _ receiver: Receiver
    ) throws(HistoryError) -> Find {
        let size = min(receiver.endpoint.size, stretch.size)
        var after = stretch.first - 1
        var wanted: [Event] = []
        // The same composition as before: what was passed by then is passed by now.
        while wanted.count < size {
            let page = try parts.events.events(after: after, matching: filter, atMost: max(size, 20))
            wanted += page.events.filter { $0.seq <= stretch.last && receiver.endpoint.wants($0) }
            guard !page.isAtEnd, page.last < stretch.last, page.last > after else { break }
            after = page.last
        }
        return wanted.isEmpty ? .over(stretch.id) : .events(Self.body(wanted, size))
    }

    /// As many as a body takes: by number, and by bytes.
    private static func body(_ events: [Event], _ size: Int) -> [Event] {
        var (taken, bytes): ([Event], Int) = ([], 0)
        for event in events.prefix(size) {
            taken.append(event)
            bytes += 400 + (event.data.smtp?.text.utf8.count ?? 0) + (event.data.text?.utf8.count ?? 0)
            bytes += (event.data.recipient?.utf8.count ?? 0) + (event.data.headerMessageID?.utf8.count ?? 0)
            if bytes >= mostBodyBytes { break }
        }
        return taken
    }
}

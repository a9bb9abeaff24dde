// Story+Events.swift — what the entries of history become: events, in an order that never changes.

import Mail

extension StoryScan.Item {
    /// The events of the entry, numbered.
    ///
    /// - Parameters:
    ///   - epoch: of the history.
    ///   - node: name of the relay.
    func events(epoch: String, node: String) -> [Event] {
        var made: [(EventType, Timestamp, EventData)] = []
        switch entry {
        case .message(let context):
            var data = EventData(context)
            data.recipientCount = context.recipientCount
            // Most mail has one, and people look for it here.
            if context.recipientCount == 1 { data.recipient = context.recipients.first?.address }
            data.user = context.user
            data.client = context.client
            made.append((.accepted, context.acceptedAt, data))
        case .context, .adopted: break
        case .event(let fact): made.append((fact.type, fact.time, EventData(fact)))
        case .note(let id, let facts, let isEnd):
            let base = context.map { EventData($0) } ?? EventData(id)
            var last: Timestamp?
            for fact in facts.decoded {
                switch fact {
                case .attempt(let attempt):
                    last = attempt.time
                    made += attempt.events(base, context)
                case .command(let command):
                    last = command.time
                    var data = base
                    data.add(command)
                    if id.rawValue == 0 { data.message = nil }
                    made.append((command.type, command.time, data))
                case .report(let report):
                    last = report.time
                    var data = base
                    data.add(report)
                    data.age = context.map { report.time.milliseconds(since: $0.acceptedAt) }
                    made.append((report.type, report.time, data))
                case .time(let time): last = time
                }
            }
            if isEnd, !facts.isEmpty {
                var data = base
                let time = last ?? context?.acceptedAt ?? Timestamp(milliseconds: 0)
                data.age = context.map { time.milliseconds(since: $0.acceptedAt) }
                made.append((.finished, time, data))
            }
        }
        // Should a fact not be understood, its numbers stay free: those of the end are counted from behind.
        let count = entry.eventCount
        return made.enumerated().map { index, event in
            let isLast = index == made.count - 1
            let offset = isLast ? count - 1 : index
            return Event(
                seq: first + UInt64(max(0, offset)),
                epoch: epoch,
                type: event.0,
                time: event.1,
                node: node,
                data: event.2
            )
        }
    }
}

extension EventData {
    /// What is known of a message.
    init(_ context: MessageContext) {
        self.init()
        message = context.id
        headerMessageID = context.headerMessageID
        sender = context.sender
        tag = context.tag
        size = context.size
    }

    /// Nothing but the name is known.
    init(_ id: QueueID) {
        self.init()
        message = id
    }

    init(_ fact: CommandFact) {
        self.init()
        add(fact)
    }

    mutating func add(_ fact: CommandFact) {
        actor = fact.actor
        subject = fact.subject
        text = fact.text
        until = fact.until
        count = fact.count
    }
}

extension AttemptFact {
    /// An event for each recipient, then one for each report.
    fileprivate func events(
        _ base: EventData,
        _ context: MessageContext?
    ) -> [(EventType, Timestamp, EventData)] {
        var made: [(EventType, Timestamp, EventData)] = []
        for part in parts {
            var data = base
            data.route = lane.route
            data.lane = lane.whole
            data.attempt = attempt
            data.source = source
            data.stages = stages
            data.mx = part.host
            data.tls = part.tls
            data.smtp = part.words
            data.reason = part.reason
            data.nextAttempt = part.next
            data.mayBeDuplicate = part.mayBeDuplicate
            data.age = context.map { time.milliseconds(since: $0.acceptedAt) }
            for recipient in part.recipients {
                data.recipient = context?.address(recipient)
                made.append((part.result.type, time, data))
            }
        }
        for name in reports.names {
            var data = base
            data.subject = name
            made.append((.reportSent, time, data))
        }
        return made
    }
}

extension AttemptFact.Part.Result {
    fileprivate var type: EventType {
        switch self {
        case .delivered: .delivered
        case .deferred: .deferred
        case .bounced: .bounced
        case .suppressed: .suppressed
        }
    }
}

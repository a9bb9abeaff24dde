// HoldTrail.swift — what one bulk hold changed, so that exactly this can be taken back. A value.

import Mail
import Storage

/// What became of a message that was to be held.
struct HoldOutcome: Sendable {
    let result: CommandResult
    /// What it was held by before; nil: by nothing.
    let before: Hold?

    init(_ result: CommandResult, before: Hold? = nil) { (self.result, self.before) = (result, before) }
}

/// The messages that one hold found, and what they were held by before.
struct HoldTrail: Sendable {
    /// One message.
    struct Step: Sendable {
        let id: QueueID
        /// What it is held by, if nobody has said another word since.
        let placed: Hold
        /// What it was held by before; nil: by nothing.
        let before: Hold?
    }

    let hold: Hold
    /// Those that nothing held before: the usual ones, eight bytes each.
    private var fresh: [QueueID] = []
    private var changed: [(id: QueueID, before: Hold)] = []

    init(_ hold: Hold) { self.hold = hold }

    /// How many messages.
    var count: Int { fresh.count + changed.count }

    mutating func note(_ id: QueueID, before: Hold?) {
        if let before { changed.append((id, before)) } else { fresh.append(id) }
    }

    /// A part of the trail.
    subscript(range: Range<Int>) -> [Step] {
        range.map { place in
            guard place >= fresh.count else { return Step(id: fresh[place], placed: hold, before: nil) }
            let (id, before) = changed[place - fresh.count]
            return Step(id: id, placed: hold.continuing(before), before: before)
        }
    }
}

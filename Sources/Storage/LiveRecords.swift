// LiveRecords.swift — which records of a log count: the one opinion on it, for recovery and for the tools. A pure value.
//
// It is told of every record from the newest to the oldest and says at once what each means, because a note is always
// newer than the message it speaks of.

import Mail

/// Goes through a log backwards.
///
/// `Note` is the newest state of a message, as the reader keeps it.
struct LiveRecords<Note> {
    /// What a message record turns out to be.
    enum Standing {
        /// It counts, with the newest note about it.
        case live(Note?)
        /// It is settled, or there is a newer copy of it.
        case over
        /// There is a newer record of the same id that is no copy: never written by us, and only one can be meant.
        case double
    }

    private var settled: Set<UInt64> = []
    private var copied: Set<UInt64> = []
    private var live: Set<UInt64> = []
    private var notes: [UInt64: Note] = [:]

    /// A message is finished: nothing older of it counts.
    mutating func settle(_ id: QueueID) { settled.insert(id.rawValue) }

    /// An attempt was noted.
    ///
    /// - Parameter read: makes the note; nil where it is damaged, so that an older one may count. Not called for what
    ///   cannot count.
    mutating func note(_ id: QueueID, _ read: () -> Note?) {
        let id = id.rawValue
        guard notes[id] == nil, !settled.contains(id), !live.contains(id) else { return }
        notes[id] = read()
    }

    /// A message's own record.
    ///
    /// - Parameter isCopy: it was copied forward, so that older ones of its id are known to be stale.
    mutating func message(_ id: QueueID, isCopy: Bool) -> Standing {
        let id = id.rawValue
        if settled.contains(id) || copied.contains(id) { return .over }
        guard live.insert(id).inserted else { return .double }
        if isCopy { copied.insert(id) }
        return .live(notes.removeValue(forKey: id))
    }
}

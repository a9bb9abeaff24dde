// LiveRecords.swift — which records of a log count: the one opinion on it, for recovery and for the tools. A pure value.
//
// It is told of every record from the newest to the oldest and says at once what each means, because a note is always
// newer than the message it speaks of. So nobody has to go through a log twice.

import Mail

/// What is known of an id; from ``firstNote`` on: the number of its note, and nothing else is known.
private enum Known {
    static let settled: UInt32 = 1
    static let live: UInt32 = 2
    /// Live, and older records of it are known to be stale.
    static let copied: UInt32 = 3
    static let firstNote: UInt32 = 4
}

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

    private var known = IDTable()
    private var notes: [Note?] = []
    /// Places in `notes` whose message was met.
    private var free: [UInt32] = []

    /// A message is finished: nothing older of it counts.
    mutating func settle(_ id: QueueID) {
        let place = known.place(of: id.rawValue)
        let value = known[place]
        if value >= Known.firstNote { forget(value) }
        // A live one stays what it is.
        known[place] = value == Known.live || value == Known.copied ? Known.copied : Known.settled
    }

    /// An attempt was noted.
    ///
    /// - Parameter read: makes the note; nil where it is damaged, so that an older one may count. Not called for what
    ///   cannot count.
    mutating func note(_ id: QueueID, _ read: () -> Note?) {
        let place = known.place(of: id.rawValue)
        guard known[place] == 0, let note = read() else { return }
        known[place] = Known.firstNote + keep(note)
    }

    /// A message's own record.
    ///
    /// - Parameter isCopy: it was copied forward, so that older ones of its id are known to be stale.
    mutating func message(_ id: QueueID, isCopy: Bool) -> Standing {
        let place = known.place(of: id.rawValue)
        let value = known[place]
        switch value {
        case Known.settled, Known.copied: return .over
        case Known.live: return .double
        default:
            known[place] = isCopy ? Known.copied : Known.live
            return .live(value >= Known.firstNote ? forget(value) : nil)
        }
    }

    // MARK: - Notes

    private mutating func keep(_ note: Note) -> UInt32 {
        guard let place = free.popLast() else {
            notes.append(note)
            return UInt32(notes.count - 1)
        }
        notes[Int(place)] = note
        return place
    }

    @discardableResult
    private mutating func forget(_ value: UInt32) -> Note? {
        let place = value - Known.firstNote
        free.append(place)
        defer { notes[Int(place)] = nil }
        return notes[Int(place)]
    }
}

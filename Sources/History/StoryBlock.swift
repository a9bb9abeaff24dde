// StoryBlock.swift — a stretch of history as bytes: entries in the order of the log, read front to back.
//
// A note of the queue stands here as it stood in the log, and what its events tell of the message stands once before it: so
// writing costs a copy, and events are made when somebody reads. How many events an entry becomes is fixed by its bytes, so
// numbers are the same whoever counts.
//
//   kind u8 · length of the rest · message id u64 · …
//
//   1 message   context; becomes `message.accepted`
//   2 context   context of a message that was accepted earlier
//   3 note      facts
//   4 end       facts; becomes `message.finished` behind them
//   5 event     type u8, time, data (a command fact)
//   6 adopted   context of a message that was accepted elsewhere; found as a message, and no event

import Mail

/// An entry of a block.
enum StoryEntry: Hashable, Sendable {
    case message(MessageContext)
    case context(MessageContext)
    /// Another node accepted it, or nobody listened then.
    case adopted(MessageContext)
    case note(QueueID, Facts, isEnd: Bool)
    /// An event of the readers' own.
    case event(CommandFact)

    fileprivate var kind: UInt8 {
        switch self {
        case .message: 1
        case .context: 2
        case .adopted: 6
        case .note(_, _, let isEnd): isEnd ? 4 : 3
        case .event: 5
        }
    }

    /// A search finds it.
    fileprivate var isMessage: Bool {
        switch self {
        case .message, .adopted: true
        case .context, .note, .event: false
        }
    }

    /// How many events it becomes.
    var eventCount: Int {
        switch self {
        case .message, .event: 1
        case .context, .adopted: 0
        case .note(_, let facts, let isEnd): facts.eventCount + (isEnd && !facts.isEmpty ? 1 : 0)
        }
    }
}

/// A block being written.
struct StoryBlock: Sendable {
    /// Enough for a few hundred messages; reading one is a matter of a millisecond.
    static let fullSize = 48 << 10
    /// Octets of nearly every entry.
    private static let usual = 512
    /// A power of two.
    private static let latelyCount = 256

    private(set) var bytes: [UInt8] = []
    /// Number of its first event.
    let first: UInt64
    private(set) var eventCount: UInt64 = 0
    /// Messages whose context stands here.
    private(set) var known: Set<QueueID> = []
    /// Under which keys it is found; one may stand there several times.
    private(set) var keys: [UInt64] = []
    /// Keys that came lately, each at the place that its bits say: most of those that come again are found here.
    private var lately: [UInt64] = []
    /// Of its events.
    private(set) var newest = Timestamp(milliseconds: 0)

    init(first: UInt64) { self.first = first }

    var isFull: Bool { bytes.count >= Self.fullSize }
    var isEmpty: Bool { bytes.isEmpty }

    mutating func add(_ entry: StoryEntry) {
        if bytes.isEmpty {
            bytes.reserveCapacity(Self.fullSize + 1024)
            known.reserveCapacity(256)
            keys.reserveCapacity(1024)
            // No key stands at a place that is not its own.
            lately = (0..<Self.latelyCount).map { UInt64($0 ^ 1) }
        }
        bytes.append(entry.kind)
        bytes.composePiece(Self.usual) { body in
            switch entry {
            case .message(let context), .context(let context), .adopted(let context): context.encode(to: &body)
            case .note(let id, let facts, _):
                body.put(number: id.rawValue)
                facts.bytes.withUnsafeBytes { body.put($0) }
            case .event(let fact):
                body.put(number: 0)
                fact.encode(to: &body)
            }
        }
        switch entry {
        case .message(let context), .context(let context), .adopted(let context):
            known.insert(context.id)
            add(SearchKey.message(context.id))
            if entry.isMessage { SearchKey.forEach(of: context) { add($0) } }
        case .note(let id, _, _): add(SearchKey.message(id))
        case .event: break
        }
        eventCount += UInt64(entry.eventCount)
    }

    private mutating func add(_ key: UInt64) {
        let place = Int(truncatingIfNeeded: key) & (Self.latelyCount - 1)
        guard lately[place] != key else { return }
        lately[place] = key
        keys.append(key)
    }
}

/// Goes through a block.
struct StoryScan {
    /// An entry with the number of its first event and what is known of its message.
    struct Item {
        let entry: StoryEntry
        let first: UInt64
        let context: MessageContext?
    }

    private let bytes: [UInt8]
    private var position = 0
    private var next: UInt64
    private var contexts: [QueueID: MessageContext] = [:]

    init(_ bytes: [UInt8], first: UInt64) {
        self.bytes = bytes
        next = first
    }

    /// The next entry of the block; nil at its end, or where it does not make sense.
    mutating func item() -> Item? { item { _, _ in true } }

    /// The next entry of a message.
    mutating func item(of wanted: QueueID) -> Item? { item { _, id in id == wanted } }

    /// The next entry that is wanted; others are passed over without being made, which most of the time of a search went into.
    ///
    /// - Parameter wants: whether a message begins here, and which it is; zero for events of none.
    mutating func item(where wants: (_ isMessage: Bool, QueueID) -> Bool) -> Item? {
        while position < bytes.count {
            let start = position
            let first = next
            let found: (entry: StoryEntry?, count: Int, end: Int)? = bytes.withUnsafeBytes { raw in
                var reader = StoredReader(UnsafeRawBufferPointer(rebasing: raw[start...]))
                guard let kind = try? reader.byte(), let piece = try? reader.piece() else { return nil }
                let (body, end) = (UnsafeRawBufferPointer(rebasing: piece), start + reader.position)
                if let id = Self.id(body), !wants(kind == 1 || kind == 6, QueueID(rawValue: id)) {
                    return (nil, Self.eventCount(kind, body), end)
                }
                guard let entry = try? Self.entry(kind, body) else { return nil }
                return (entry, entry.eventCount, end)
            }
            guard let found else {
                position = bytes.count
                return nil
            }
            position = found.end
            next += UInt64(found.count)
            guard let entry = found.entry else { continue }
            switch entry {
            case .message(let known), .context(let known), .adopted(let known):
                contexts[known.id] = known
                return Item(entry: entry, first: first, context: known)
            case .note(let id, _, _): return Item(entry: entry, first: first, context: contexts[id])
            case .event: return Item(entry: entry, first: first, context: nil)
            }
        }
        return nil
    }

    private static func id(_ body: UnsafeRawBufferPointer) -> UInt64? {
        body.count < 8 ? nil : UInt64(littleEndian: body.loadUnaligned(as: UInt64.self))
    }

    private static func eventCount(_ kind: UInt8, _ body: UnsafeRawBufferPointer) -> Int {
        switch kind {
        case 1, 5: return 1
        case 3, 4:
            let count = Facts.eventCount(UnsafeRawBufferPointer(rebasing: body[8...]))
            return count + (kind == 4 && body.count > 8 ? 1 : 0)
        default: return 0
        }
    }

    private static func entry(_ kind: UInt8, _ body: UnsafeRawBufferPointer) throws(Malformed) -> StoryEntry {
        var reader = StoredReader(body)
        switch kind {
        case 1: return .message(try MessageContext(decoding: &reader))
        case 2: return .context(try MessageContext(decoding: &reader))
        case 6: return .adopted(try MessageContext(decoding: &reader))
        case 3, 4:
            let id = QueueID(rawValue: try reader.number())
            return .note(id, Facts(Array(body[8...])), isEnd: kind == 4)
        case 5:
            _ = try reader.number(UInt64.self)
            return .event(try CommandFact(decoding: &reader))
        default: throw Malformed()
        }
    }
}

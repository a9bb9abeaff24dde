// SharedNode.swift — what the parts of one node know of its place in a shared queue: which life it is in, and whether it may
// write.
//
// A node has a new number, its incarnation, each time it joins. Messages belong to incarnations; what a former life left
// behind belongs to whoever takes it. Each thing is settled under the numbers that this process ever had, so that what changed
// hands meanwhile is left alone.

package import Mail
import Synchronization

/// Where a shared queue is, and how this node takes part.
package struct SharedOptions: Sendable {
    /// A connection string of libpq.
    package var place: String
    /// This node's name among the others.
    package var node: String
    /// Missing or older tables are made at the start.
    package var mayMigrate = true
    /// Milliseconds for which a message waits for a commit that does not come.
    package var patience: Int64 = 20_000
    /// Mail of nodes that are gone is taken over while it runs.
    package var takesOver = true
    /// Somebody follows the journal.
    package var isFollowed = false
    /// What others are shown: the program's version.
    package var version = ""

    package init(place: String, node: String) {
        self.place = place
        self.node = node
    }
}

/// Something about a shared queue that people should hear of.
package enum SharedNotice: Hashable, Sendable {
    /// This node is one of the queue's, under this number and name.
    case joined(Int64, String)
    /// The database does not do what it should.
    case away(String)
    /// It does again.
    case back
    /// The lease of another node ran out.
    case gone(String)
    /// Another node has stopped, as it was told to.
    case left(String)
    /// Messages of nodes that are gone are this one's now.
    case adopted(Int)
    /// The others took this node for dead: what waited here is theirs.
    case wasGivenUp
    /// Somebody asked for this node to be emptied, or to go on.
    case draining(Bool)
    /// So many messages were given to a node that has less, or a part of their lane.
    case handed(Int)
    /// A message cannot be read; it belongs to nobody until a person has looked at it.
    case setAside(QueueID, String)
    /// A report was not queued, because its message is another node's.
    case withdrawn(QueueID, about: QueueID)
}

/// What a store that is shared tells the queue.
package struct OwnershipNews: Sendable {
    /// Messages are this node's now; those that are held come with why.
    package var adopted: @Sendable ([(message: RecoveredMessage, hold: Hold?)]) -> Void = { _ in }
    /// Messages are others' now; nil: all that no session has.
    package var lost: @Sendable ([QueueID]?) -> Void = { _ in }
    /// Until when this node may begin to deliver.
    package var leased: @Sendable (Uptime) -> Void = { _ in }
    /// Something that history should know; called on any thread.
    package var happened: @Sendable (SharedNotice) -> Void = { _ in }
    /// What operators said to the whole queue, before anything is begun.
    ///
    /// Gives whether all of it is kept.
    package var heard: @Sendable ([SharedWord]) -> Bool = { _ in true }
    /// Of sessions and mail that nodes divide among them.
    package var grants = GrantNews()
    /// Takes messages that no session has out of the queue, for others.
    package var yielded: @Sendable () -> [QueueID] = { [] }

    package init() {}
}

/// Between the threads of one node.
final class SharedNode: Sendable {
    /// Milliseconds; the server's clock judges.
    static let lease: Int64 = 10_000
    /// Milliseconds between two heartbeats.
    static let beat: Int64 = 2_000
    /// Milliseconds before the end of the lease from which on nothing is begun.
    static let margin: Int64 = 1_000
    /// Numbers that ids of different nodes end in.
    static let shares: UInt64 = 256

    private struct State {
        var incarnation: Int64?
        /// Every number that this process ever had.
        var own: [Int64] = []
        var trouble: String?
        var isDraining = false
        var config = ""
        var leaseEnd = Uptime(milliseconds: .min)
        var news = OwnershipNews()
    }

    /// Held while a batch is written and told, and while this node begins another life: no batch of the former one comes
    /// in between.
    let writing = Mutex(())
    private let state = Mutex(State())
    private let share = Atomic<UInt64>(0)

    /// The number of this life; nil: this node is none of the queue's now.
    var incarnation: Int64? { state.withLock { $0.incarnation } }

    /// Until when deliveries may begin.
    var leaseEnd: Uptime { state.withLock { $0.leaseEnd } }

    /// The lease was renewed by a question of that time.
    func lease(from asked: Uptime) {
        let end = asked.adding(milliseconds: Self.lease - Self.margin)
        state.withLock { $0.leaseEnd = end }
        news.leased(end)
    }

    /// As a list for SQL.
    var own: [Int64] { state.withLock { $0.own } }

    func join(as incarnation: Int64?) {
        state.withLock { state in
            state.incarnation = incarnation
            if let incarnation { state.own.append(incarnation) }
        }
        if let incarnation { share.store(UInt64(bitPattern: incarnation) % Self.shares, ordering: .relaxed) }
    }

    /// Why nothing is committed now; nil: everything is well.
    var trouble: String? { state.withLock { $0.trouble } }

    /// - Returns: whether that is news.
    func setTrouble(_ text: String?) -> Bool {
        state.withLock { state in
            defer { state.trouble = text }
            return (state.trouble == nil) != (text == nil)
        }
    }

    /// What others are to know of this node's configuration.
    var config: String { state.withLock { $0.config } }

    func setConfig(_ text: String) { state.withLock { $0.config = text } }

    var isDraining: Bool { state.withLock { $0.isDraining } }

    /// - Returns: whether that is news.
    func setDraining(_ isDraining: Bool) -> Bool {
        state.withLock { state in
            defer { state.isDraining = isDraining }
            return state.isDraining != isDraining
        }
    }

    var news: OwnershipNews {
        get { state.withLock { $0.news } }
        set { state.withLock { $0.news = newValue } }
    }

    var grants: GrantNews { state.withLock { $0.news.grants } }

    /// The owner of messages that are a node's from now on, and that it does not know of as yet.
    static func gift(to incarnation: Int64) -> Int64 { -1_000 - incarnation }

    /// The first id from this one on that no other node makes.
    func own(_ id: QueueID) -> QueueID {
        let share = share.load(ordering: .relaxed)
        let value = id.rawValue / Self.shares * Self.shares + share
        return QueueID(rawValue: value < id.rawValue ? value + Self.shares : value)
    }
}

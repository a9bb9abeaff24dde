// SharedTests.swift — messages as rows and back, one transaction's text, ids of several nodes: what needs no server.

import Database
import Mail
import NIOCore
import Testing

@testable import Storage

@Suite struct SharedTests {
    @Test(arguments: [10, 5_000])
    func aMessageComesBackFromItsRow(_ size: Int) throws {
        let message = testMessage(7, body: size, recipients: 3)
        let head = try #require(SharedMail.head(decoding: SharedMail.head(of: message)))
        #expect(head.envelope == message.envelope && head.head.acceptedAt == message.acceptedAt)
        #expect(head.state == DeliveryState() && head.size == message.content.size)
        let content = Array(try bytes(of: message.content).utf8)
        let back = try #require(
            SharedMail.message(message.id, head, content: content) { _ in fatalBody }
        )
        #expect(try bytes(of: back.content) == bytes(of: message.content))
        #expect(back.content.hasLeadingDots == message.content.hasLeadingDots)
        #expect(back.content.isEightBit == message.content.isEightBit)
        #expect(SharedMail.message(message.id, head, content: content + [0]) { _ in fatalBody } == nil)
    }

    @Test func aHeadThatIsCutOrChangedIsNone() {
        let head = SharedMail.head(of: testMessage(3))
        for count in 0..<head.count { #expect(SharedMail.head(decoding: Array(head.prefix(count))) == nil) }
    }

    @Test func oneTransactionSaysEachThingOnce() {
        var batch = SharedBatch()
        let (one, two) = (QueueID(rawValue: 11), QueueID(rawValue: 12))
        batch.add(.message(testMessage(10)), isFollowed: true)
        batch.add(.attempt(one, DeliveryState(done: [0]), Facts([1])), isFollowed: true)
        batch.add(.attempt(two, DeliveryState(done: [0]), .none), isFollowed: true)
        batch.add(.settled(one, nil, Facts([2])), isFollowed: true)
        // A state that comes behind the end means nothing any more.
        batch.add(.attempt(one, DeliveryState(), .none), isFollowed: true)
        #expect(batch.settled == [one] && Set(batch.states.keys) == [two])
        #expect(batch.journal.map(\.kind) == [.message, .note, .note, .settled, .note])
        let sql = batch.sql(own: [5, 6], number: 9)
        #expect(sql.utf8.starts(with: "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_current_xact_id()".utf8))
        #expect(sql.contains("WHERE id IN (11) AND owner IN (5,6);"))
        #expect(
            sql.contains("(12::bigint,'\\x03") && sql.contains("RETURNING q.id;INSERT INTO martlet.batch VALUES (6,9)")
                && sql.hasSuffix(";COMMIT")
        )
        #expect(sql.components("COPY ") == 3)
    }

    @Test func aReportAndItsNoteAreOneTransaction() {
        var batch = SharedBatch()
        let about = QueueID(rawValue: 11)
        let joint = JointNote([testMessage(12)], .end(Location(number: 1)), of: about, Facts([1]))
        batch.add(.attempt(about, DeliveryState(), .none), isFollowed: true)
        batch.add(.joint(joint), isFollowed: true)
        #expect(batch.settled == [about] && batch.states.isEmpty && batch.messages.map(\.id) == [testMessage(12).id])
        #expect(batch.items.count == 2 && batch.joints.count == 1 && batch.links.map(\.about) == [about])
        #expect(batch.journal.map(\.kind) == [.note, .message, .settled])
        let sql = batch.sql(own: [5, 6], number: 9, journal: ("a", 40))
        let order = [
            "COPY martlet.message", "FOR UPDATE", "SELECT id FROM gone;",
            "DELETE FROM martlet.message WHERE id IN (11)",
        ]
        let places = order.compactMap { sql.ranges(of: $0).first?.lowerBound }
        #expect(places.count == 4 && places == places.sorted())
        #expect(sql.contains("l.about AND q.owner IN (5,6)") && sql.contains("number >= 40"))
    }

    @Test func aHeldNoteWithReportsHasWhatWasNotedBefore() {
        var held = HeldNotes(limit: 10)
        let about = QueueID(rawValue: 11)
        held.add(.attempt(about, DeliveryState(done: [0]), Facts([1])))
        held.add(.joint(JointNote([testMessage(12)], .state(DeliveryState(done: [0, 1])), of: about, Facts([2]))))
        held.add(.attempt(about, DeliveryState(done: [0, 1, 2]), Facts([3])))
        var batch = SharedBatch()
        for item in held.takeAll() { batch.add(item, isFollowed: true) }
        #expect(held.isEmpty && batch.states[about]?.done == [0, 1, 2] && batch.links.count == 1)
        // The note that came before is told with it, and once.
        #expect(batch.journal.count == 3)
    }

    @Test func withoutAFollowerThereIsNoJournal() {
        var batch = SharedBatch()
        batch.add(.settled(QueueID(rawValue: 1), nil, Facts([2])), isFollowed: false)
        #expect(batch.journal.isEmpty && batch.sql(own: [1], number: 1).components("COPY ") == 0)
    }

    @Test func idsOfTwoNodesNeverMeet() {
        let nodes = [(1, SharedNode()), (2, SharedNode()), (300, SharedNode())]
        for (number, node) in nodes { node.join(as: Int64(number)) }
        var seen: Set<QueueID> = []
        for (number, node) in nodes {
            var last = QueueID(rawValue: 0)
            for _ in 0..<1000 {
                let next = node.own(last.next(at: Timestamp(milliseconds: 5)))
                #expect(next > last && next.rawValue % SharedNode.shares == UInt64(number) % SharedNode.shares)
                #expect(seen.insert(next).inserted)
                last = next
            }
        }
    }

    @Test func newerAndMissingTablesKeepANodeOut() {
        #expect(SharedSchema.trouble(SharedSchema.version, mayMigrate: false) == nil)
        #expect(SharedSchema.trouble(SharedSchema.version + 1, mayMigrate: true) != nil)
        #expect(SharedSchema.trouble(0, mayMigrate: true) == nil)
        #expect(SharedSchema.trouble(0, mayMigrate: false)?.contains("martlet storage migrate") == true)
    }

    @Test func spansBeginAtWholeHours() {
        let start = SharedSchema.start(of: Timestamp(milliseconds: 3_600_000 * 5 + 17))
        #expect(start == Int64(3_600_000 * 5) << 20)
    }

    /// A short message needs none.
    private var fatalBody: any LargeBody { NoBody() }
}

private final class NoBody: LargeBody {
    var size: Int { 0 }
    func write(_ bytes: ByteBuffer) throws(QueueError) { throw .closing }
    func finish() throws(QueueError) { throw .closing }
    func discard() {}
    func read(at offset: Int, count: Int) throws(QueueError) -> ByteBuffer { throw .closing }
}

extension String {
    /// How often a word stands in it.
    fileprivate func components(_ word: String) -> Int { ranges(of: word).count }
}

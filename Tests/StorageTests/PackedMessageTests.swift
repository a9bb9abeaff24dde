// PackedMessageTests.swift — a message as one relay hands it to another: the same there, and nothing that was damaged.

import Files
import Mail
import NIOCore
import Testing

@testable import Storage

@Suite struct PackedMessageTests {
    private static let time = Timestamp(milliseconds: 1_790_000_000_123)

    private static func message(recipients count: Int = 2, body: String = "Subject: x\r\n\r\n.dot\r\n") -> NewMessage {
        let recipients = (0..<count).compactMap { EmailAddress("r\($0)@b.test") }.map { Recipient($0) }
        return NewMessage(
            id: QueueID(at: time),
            acceptedAt: time,
            envelope: Envelope(sender: .null, recipients: recipients),
            content: Content(
                prologue: ByteBuffer(string: "Received: by a\r\n"),
                body: .memory(ByteBuffer(string: body)),
                hasLeadingDots: true,
                isEightBit: false
            )
        )
    }

    private static func bytes(_ packed: PackedMessage) throws -> [UInt8] {
        var bytes = packed.front
        bytes += try packed.message.content.read(at: 0, count: packed.message.content.size)
        var checksum = CRC32C()
        checksum.update(bytes)
        let whole = bytes + PackedMessage.trailer(checksum)
        #expect(whole.count == packed.size(front: packed.front.count))
        return whole
    }

    private static var state: DeliveryState {
        DeliveryState(
            waiting: [
                DeliveryState.Group(
                    recipients: [1],
                    failures: 3,
                    due: time.adding(milliseconds: 60_000),
                    reply: LastReply("451 later"),
                    attemptedAt: time,
                    unreached: 1
                )
            ],
            done: [0],
            delayReported: true,
            notedAt: time
        )
    }

    @Test(arguments: [
        nil, Hold(since: time, reason: "look"), Hold(since: time, until: time.adding(milliseconds: 5), reason: ""),
    ])
    func theSameComesOut(_ hold: Hold?) throws {
        let packed = PackedMessage(Self.message(), Self.state, hold)
        let found = try PackedMessage(decoding: Self.bytes(packed))
        #expect(found.message.id == packed.message.id)
        #expect(found.message.acceptedAt == packed.message.acceptedAt)
        #expect(found.message.envelope == packed.message.envelope)
        #expect(found.state == packed.state)
        #expect(found.hold == hold)
        #expect(found.message.content.hasLeadingDots && !found.message.content.isEightBit)
        let size = packed.message.content.size
        #expect(try found.message.content.read(at: 0, count: size) == packed.message.content.read(at: 0, count: size))
    }

    @Test func everyChangedOctetIsFound() throws {
        let whole = try Self.bytes(PackedMessage(Self.message(), Self.state, nil))
        for place in whole.indices {
            var wrong = whole
            wrong[place] ^= 0x21
            #expect(throws: PackedMessage.Fault.self) { try PackedMessage(decoding: wrong) }
        }
        for count in 0..<whole.count {
            #expect(throws: PackedMessage.Fault.self) { try PackedMessage(decoding: Array(whole.prefix(count))) }
        }
    }

    @Test func aNewerFormIsCalledSo() throws {
        var whole = try Self.bytes(PackedMessage(Self.message(), DeliveryState(), nil))
        whole[16] = 9
        #expect(throws: PackedMessage.Fault.newer(9)) { try PackedMessage(decoding: whole) }
    }

    @Test func whatIsFinishedOrIsAboutOthersIsNone() throws {
        let finished = DeliveryState(done: [0, 1], notedAt: Self.time)
        let other = DeliveryState(done: [7], notedAt: Self.time)
        for state in [finished, other] {
            let whole = try Self.bytes(PackedMessage(Self.message(), state, nil))
            #expect(throws: PackedMessage.Fault.malformed) { try PackedMessage(decoding: whole) }
        }
    }

    @Test func whatTellsItApartIsNotWhatBecameOfIt() throws {
        func identity(_ packed: PackedMessage) throws -> [UInt8] {
            var all: [UInt8] = []
            try packed.visitIdentity { all += $0 }
            return all
        }
        let one = try identity(PackedMessage(Self.message(), DeliveryState(), nil))
        #expect(try identity(PackedMessage(Self.message(), Self.state, Hold(since: Self.time, reason: "x"))) == one)
        #expect(try identity(PackedMessage(Self.message(body: "Subject: y\r\n\r\n"), DeliveryState(), nil)) != one)
        #expect(try identity(PackedMessage(Self.message(recipients: 3), DeliveryState(), nil)) != one)
    }

    @Test func aMarkKeepsWhatItReplaces() {
        let timed = Hold(since: Self.time, until: Self.time.adding(milliseconds: 90), reason: "new year: see ticket, 7")
        for known in [nil, timed, Hold(since: Self.time, reason: ""), Hold(since: Self.time, reason: "look")] {
            let mark = Hold.leaving(
                to: "relay-2.example.net:8025",
                before: known,
                at: Self.time.adding(milliseconds: 7)
            )
            #expect(mark.destination == "relay-2.example.net:8025")
            #expect(mark.until == nil)
            #expect(mark.beforeLeaving == known)
        }
        #expect(timed.destination == nil)
        #expect(timed.beforeLeaving == nil)
        let arriving = Hold.arriving("0a1b", at: Self.time)
        #expect(arriving.isArriving("0a1b") && !arriving.isArriving("0a") && arriving.destination == nil)
    }
}

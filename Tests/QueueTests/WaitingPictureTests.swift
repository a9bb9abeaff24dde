// WaitingPictureTests.swift — what waits, seen as a whole: counted by destination and age, words that differ by numbers are one.

import Mail
import Storage
import Testing

@testable import Queue

@Suite struct WaitingPictureTests {
    private static let wall = Timestamp(milliseconds: 1_700_000_000_000)

    private static func waiting(_ domain: String, _ text: String?, seconds: Int64, id: UInt64 = 1) -> MailQueue.Waiting
    {
        MailQueue.Waiting(
            lane: .domain(Domain(unchecked: domain)),
            reply: text.map { LastReply($0, reason: .greylisted, host: "h") },
            acceptedAt: wall.adding(milliseconds: -seconds * 1000),
            attemptedAt: UInt32(id),
            id: QueueID(rawValue: id)
        )
    }

    private static func picture(_ parcels: [MailQueue.Waiting], rows: [String]) -> WaitingPicture {
        var picture = WaitingPicture(at: wall)
        picture.rows = rows.map { WaitingPicture.Row(route: $0) }
        var sum = WaitingPicture.Sum(picture)
        for parcel in parcels { sum.add(parcel, wall: wall) }
        return sum.result()
    }

    @Test func parcelsAreCountedByAge() {
        let picture = Self.picture(
            [
                Self.waiting("a.test", nil, seconds: 10), Self.waiting("a.test", nil, seconds: 300),
                Self.waiting("a.test", nil, seconds: 301), Self.waiting("a.test", nil, seconds: 9_000_000),
                Self.waiting("b.test", nil, seconds: 5),
            ],
            rows: ["a.test"]
        )
        #expect(picture.rows[0].parcels == 4)
        #expect(picture.rows[0].ages == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1])
        #expect(picture.otherParcels == 1)
        #expect(picture.oldest == Self.wall.adding(milliseconds: -9_000_000_000))
        #expect(picture.causes.isEmpty)
    }

    @Test func wordsThatDifferByNumbersAreOneTrouble() {
        let picture = Self.picture(
            [
                Self.waiting("a.test", "451 4.7.1 wait 30 seconds, a@b.test", seconds: 50, id: 1),
                Self.waiting("a.test", "451 4.7.1 wait 29 seconds, c@b.test", seconds: 99, id: 3),
                Self.waiting("a.test", "451 4.7.1 wait 28 seconds, d@b.test", seconds: 20, id: 2),
                Self.waiting("a.test", "451 4.7.0 wait 30 seconds, a@b.test", seconds: 50),
                Self.waiting("b.test", "451 4.7.1 wait 30 seconds, a@b.test", seconds: 50),
            ],
            rows: []
        )
        #expect(picture.causes.map(\.parcels) == [3, 1, 1])
        let first = picture.causes[0]
        #expect(first.reply.text.utf8.elementsEqual("451 4.7.1 wait 29 seconds, c@b.test".utf8), "the last one")
        #expect(first.example == QueueID(rawValue: 3))
        #expect(first.oldest == Self.wall.adding(milliseconds: -99_000))
    }

    @Test(arguments: [
        ("451 4.7.1 try 7 later", "451 4.7.1 try # later"), ("550 no <a@b.test>", "550 no #"), ("", ""),
        ("421 4.3.2", "421 4.3.2"), ("250 ok 4.7.1", "250 ok #"),
    ])
    func whatVariesIsLeftOut(_ text: String, _ pattern: String) {
        let isThis = WaitingPicture.Cause.pattern(of: text).utf8.elementsEqual(pattern.utf8)
        #expect(isThis)
    }

    @Test func manyDifferentWordsAreBounded() {
        let letters = Array("abcdefghijklmnop".utf8)
        func word(_ number: Int) -> String {
            String(
                decoding: [
                    letters[number & 15], letters[number >> 4 & 15], letters[number >> 8 & 15],
                    letters[number >> 12 & 15],
                ],
                as: UTF8.self
            )
        }
        let parcels = (0..<6000).map { Self.waiting("a.test", "451 \(word($0))", seconds: 1) }
        let picture = Self.picture(parcels, rows: ["a.test"])
        #expect(picture.rows[0].parcels == 6000)
        #expect(picture.causes.count == WaitingPicture.mostCauses)
        #expect(picture.otherCauses == 6000 - WaitingPicture.mostCauses)
    }
}

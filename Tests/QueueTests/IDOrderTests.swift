// IDOrderTests.swift — messages by id and in order, held against a sorted array.

import Mail
import TestSupport
import Testing

@testable import Queue

@Suite struct IDOrderTests {
    private static func id(_ number: UInt64) -> QueueID { QueueID(rawValue: number) }

    /// Ids that stand there, read in both directions.
    private static func expect(_ order: IDOrder, is model: [UInt64: Int], _ place: Comment) {
        let sorted = model.keys.sorted()
        let slots = sorted.compactMap { model[$0] }
        #expect(order.count == model.count, place)
        #expect(order.slots(behind: id(0), atMost: .max).map(\.place) == slots, place)
        #expect(order.slots(behind: id(.max), descending: true, atMost: .max).map(\.place) == slots.reversed(), place)
    }

    @Test(arguments: [UInt64](1...8))
    func isASortedTableWhateverComesAndGoes(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var order = IDOrder()
        var model: [UInt64: Int] = [:]
        var (low, high): (UInt64, UInt64) = (1_000_000, 1_000_000)
        for step in 0..<6_000 {
            switch UInt64.random(in: 0..<10, using: &random) {
            case 0..<4:
                high += UInt64.random(in: 1...3, using: &random)
                order.insert(Self.id(high), at: Slot(place: step))
                model[high] = step
            case 4..<6:
                low -= UInt64.random(in: 1...3, using: &random)
                order.insert(Self.id(low), at: Slot(place: step))
                model[low] = step
            case 6:
                let id = UInt64.random(in: low...high, using: &random)
                guard model[id] == nil else { break }
                order.insert(Self.id(id), at: Slot(place: step))
                model[id] = step
            default:
                guard let id = model.keys.randomElement(using: &random) else { break }
                order.remove(Self.id(id))
                model[id] = nil
            }
            let any = UInt64.random(in: low...high, using: &random)
            #expect(order.find(Self.id(any))?.place == model[any])
        }
        Self.expect(order, is: model, "seed \(seed)")
        for id in model.keys.sorted().dropLast(3) {
            order.remove(Self.id(id))
            model[id] = nil
        }
        Self.expect(order, is: model, "almost empty")
        for id in model.keys.sorted() { order.remove(Self.id(id)) }
        Self.expect(order, is: [:], "empty")
        order.insert(Self.id(7), at: Slot(place: 7))
        #expect(order.find(Self.id(7)) == Slot(place: 7))
    }

    @Test func goesOnBehindAnIDThatIsGone() {
        var order = IDOrder()
        for number in 1...2_000 as ClosedRange<UInt64> {
            order.insert(Self.id(number * 2), at: Slot(place: Int(number)))
        }
        order.remove(Self.id(1_000))
        #expect(order.slots(behind: Self.id(1_000), atMost: 2).map(\.place) == [501, 502])
        #expect(order.slots(behind: Self.id(1_001), atMost: 1).map(\.place) == [501])
        #expect(order.slots(behind: Self.id(1_000), descending: true, atMost: 2).map(\.place) == [499, 498])
        #expect(order.slots(behind: Self.id(4_000), atMost: 5).isEmpty)
        #expect(order.slots(behind: Self.id(2), descending: true, atMost: 5).isEmpty)
        // Over the edges of pages.
        var found: [Int] = []
        var last = Self.id(0)
        while let slot = order.slots(behind: last, atMost: 1).first {
            found.append(slot.place)
            last = Self.id(UInt64(slot.place) * 2)
        }
        #expect(found == (1...2_000).filter { $0 != 500 })
    }
}

// LayeredTableTests.swift — a table in layers says what a dictionary would.

import TestSupport
import Testing

@testable import Config

@Suite struct LayeredTableTests {
    @Test(arguments: 1...20)
    func isADictionary(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var (table, model) = (LayeredTable<Int, Int>(), [Int: Int]())
        var (otherTable, otherModel) = (table, model)
        let keys = seed % 2 == 0 ? 30 : 6_000
        for step in 0..<6_000 {
            let key = Int.random(in: 0..<keys, using: &random)
            let value = Int.random(in: 0..<3, using: &random)
            (table[key], model[key]) = value == 0 ? (nil, nil) : (value, value)
            if step % 997 == 0 { table.settle() }
            if step % 500 == 0 { (otherTable, otherModel) = (table, model) }
            guard step % 50 == 0 else { continue }
            #expect(table.count == model.count && table.isEmpty == model.isEmpty)
            #expect(table.values.sorted() == model.values.sorted())
            #expect((table == otherTable) == (model == otherModel))
            let unlike = Set(model.keys).union(otherModel.keys).filter { model[$0] != otherModel[$0] }
            let told = table.values(whereUnlike: otherTable)
            for key in unlike { if let value = model[key] { #expect(told.contains(value)) } }
            #expect(table[key] == model[key])
        }
    }

    @Test func aFewChangesAreAllThatIsToldOfALargeTable() {
        var table = LayeredTable<Int, Int>()
        for number in 0..<50_000 { table[number] = number }
        table.settle()
        var copy = table
        (copy[7], copy[50_001], copy[9]) = (70, 1, nil)
        #expect(copy.values(whereUnlike: table).sorted() == [1, 70])
        #expect(table.values(whereUnlike: copy).sorted() == [7, 9])
        #expect(copy != table && copy.count == 50_000)
        (copy[7], copy[50_001], copy[9]) = (7, nil, 9)
        #expect(copy == table)
    }

    @Test func nothingIsNothingSettledOrNot() {
        var table = LayeredTable<Int, Int>()
        table.settle()
        #expect(table == LayeredTable<Int, Int>())
    }
}

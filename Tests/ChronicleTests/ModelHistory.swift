// ModelHistory.swift — a history in memory that a power cut takes back as SQLite's would be: some last commits are gone, whole.

import History
import Mail
import Synchronization
import TestSupport

@testable import Chronicle

final class ModelHistory: Chronicle {
    struct Commit: Hashable, Sendable {
        let items: [HistoryItem]
        let position: [UInt8]
        let isDurable: Bool
    }

    private let commits: Mutex<[Commit]>
    /// Commits that still work; every later one fails.
    private let isBroken = Mutex(false)

    init(_ commits: [Commit] = []) { self.commits = Mutex(commits) }

    var all: [Commit] { commits.withLock { $0 } }
    var items: [HistoryItem] { all.flatMap(\.items) }
    func breakDown(_ isDown: Bool) { isBroken.withLock { $0 = isDown } }

    /// What a machine finds that lost power now.
    func afterPowerCut(_ cut: PowerCut, _ seed: UInt64) -> ModelHistory {
        let all = all
        let least = (all.lastIndex(where: \.isDurable) ?? -1) + 1
        let kept: Int =
            switch cut {
            case .keepsEverything: all.count
            case .keepsNothing: least
            case .keepsSome: least + Int(seed % UInt64(all.count - least + 1))
            }
        return ModelHistory(Array(all.prefix(kept)))
    }

    var position: [UInt8] { all.last?.position ?? [] }

    func commit(_ items: [HistoryItem], at position: [UInt8]?, durably: Bool, now: Timestamp) throws(HistoryError) {
        if isBroken.withLock({ $0 }) { throw .broken("no disk") }
        let last = self.position
        commits.withLock { $0.append(Commit(items: items, position: position ?? last, isDurable: durably)) }
    }

    func contexts(near id: QueueID) throws(HistoryError) -> [MessageContext] {
        items.compactMap { if case .accepted(let context) = $0, context.id == id { context } else { nil } }
    }

    func facts(of id: QueueID) throws(HistoryError) -> [Facts] {
        items.compactMap { if case .note(id, let facts, _, _) = $0 { facts } else { nil } }
    }

    // MARK: what is in it

    func acceptedCount(_ number: UInt64) -> Int {
        items.count { if case .accepted(let context) = $0 { context.id.rawValue == number } else { false } }
    }

    func endCount(_ number: UInt64) -> Int {
        items.count { if case .note(let id, _, true, _) = $0 { id.rawValue == number } else { false } }
    }

    /// How often a fact of a message stands in it.
    func count(_ fact: Facts, of number: UInt64) -> Int {
        items.reduce(0) { sum, item in
            guard case .note(let id, let facts, _, _) = item, id.rawValue == number else { return sum }
            return sum + facts.each.count { $0.bytes == fact.bytes }
        }
    }
}

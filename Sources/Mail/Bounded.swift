// Bounded.swift — a dictionary of what others make us remember: it has an end, and forgets what was written longest ago.
//
// Guarantees: at least the newest `atLeast` keys that were written are known, and never more than twice as many are kept.
// Two generations do it without a list of uses: when the young one is full, the old one is forgotten. Forgetting
// everything at once was refused: whoever makes up names could then empty a memory that protects others.

/// A dictionary with an end.
package struct Bounded<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    @usableFromInline let capacity: Int
    @usableFromInline var young: [Key: Value] = [:]
    /// Without the keys of ``young``.
    @usableFromInline var old: [Key: Value] = [:]

    /// - Parameter capacity: keys that are known at least once they were written; positive.
    @inlinable
    package init(atLeast capacity: Int) { self.capacity = max(1, capacity) }

    @inlinable
    package var count: Int { young.count + old.count }
    @inlinable
    package var isEmpty: Bool { young.isEmpty && old.isEmpty }

    /// Reading does not make a key young, so that it needs no lock that writes; nil forgets the key.
    @inlinable
    package subscript(key: Key) -> Value? {
        get { young[key] ?? old[key] }
        set {
            guard let newValue else {
                removeValue(forKey: key)
                return
            }
            makeYoung(key)
            young[key] = newValue
        }
    }

    /// Changes the value of a key in its place.
    ///
    /// - Parameter first: the value to change where there is none.
    @inlinable
    package subscript(key: Key, default first: @autoclosure () -> Value) -> Value {
        get { young[key] ?? old[key] ?? first() }
        _modify {
            let earlier = makeYoung(key)
            var value = young.removeValue(forKey: key) ?? earlier ?? first()
            defer { young[key] = value }
            yield &value
        }
    }

    /// Forgets a key; its value, when it was known.
    @inlinable
    @discardableResult
    package mutating func removeValue(forKey key: Key) -> Value? {
        young.removeValue(forKey: key) ?? old.removeValue(forKey: key)
    }

    /// Forgets everything.
    @inlinable
    package mutating func removeAll() {
        young = [:]
        old = [:]
    }

    /// Keeps what satisfies a condition.
    @inlinable
    package mutating func keep(where condition: (Key, Value) -> Bool) {
        young = young.filter { condition($0.key, $0.value) }
        old = old.filter { condition($0.key, $0.value) }
    }

    /// Changes every value.
    @inlinable
    package mutating func changeAll(_ body: (inout Value) -> Void) {
        for key in young.keys { if let index = young.index(forKey: key) { body(&young.values[index]) } }
        for key in old.keys { if let index = old.index(forKey: key) { body(&old.values[index]) } }
    }

    /// Every key with its value, in no order.
    @inlinable
    package func map<Result>(_ body: (Key, Value) -> Result) -> [Result] {
        young.map { body($0.key, $0.value) } + old.map { body($0.key, $0.value) }
    }

    /// Makes room for a key among the young, and takes it out of the old.
    ///
    /// - Returns: its value, when it was old.
    @inlinable
    @discardableResult
    mutating func makeYoung(_ key: Key) -> Value? {
        if young[key] != nil { return nil }
        let earlier = old.removeValue(forKey: key)
        if young.count >= capacity {
            old = young
            young = [:]
        }
        return earlier
    }
}

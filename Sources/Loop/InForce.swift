// InForce.swift — a value that is replaced as a whole while everybody reads it: settings, a resolver, certificates.
//
// Guarantees: a reader sees one version whole, and keeps it as long as its question takes; nobody waits for a reader, so a
// question may be slow and may ask in turn.

import Synchronization

/// Holds the version of a value that is in force.
///
/// A version is made once and never changed. Under the lock it is only taken or exchanged, which costs a reference.
package final class InForce<Value: Sendable>: Sendable {
    /// One version of the value.
    package final class Version: Sendable {
        package let value: Value
        let number: UInt64

        init(_ value: Value, _ number: UInt64) { (self.value, self.number) = (value, number) }
    }

    private let version: Mutex<Version>

    package init(_ value: Value) { version = Mutex(Version(value, 1)) }

    /// The value in force, copied; cheap for a small one, from any thread.
    package var current: Value { latest.value }

    /// Asks the value in force, which stays as it is while the question takes; see ``latest`` for what each mail asks.
    package func ask<Answer>(_ question: (borrowing Value) -> Answer) -> Answer { question(latest.value) }

    /// Grows with every replacement: whoever keeps what it made of the value needs to make it again only then.
    package var generation: UInt64 { latest.number }

    /// Puts another value in force.
    ///
    /// - Returns: the one that was.
    @discardableResult
    package func replace(with value: Value) -> Value {
        let old = version.withLock { version in
            defer { version = Version(value, version.number + 1) }
            return version
        }
        return old.value
    }

    /// Puts in force what `body` makes of the value; others who change it wait.
    ///
    /// - Parameter body: quick, because a lock is held, and not asking in turn.
    package func change<Answer: Sendable>(_ body: (inout Value) -> Answer) -> Answer {
        version.withLock { version in
            var value = version.value
            defer { version = Version(value, version.number + 1) }
            return body(&value)
        }
    }

    /// The version in force.
    ///
    /// Where the type is known, a part of its value is read without a copy of the rest, as each mail wants it; through ``ask(_:)``
    /// the whole is copied, reference by reference, because the question does not know the type.
    package var latest: Version { version.withLock { $0 } }
}

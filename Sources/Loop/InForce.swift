// InForce.swift — a value that is replaced as a whole while everybody reads it: settings, a resolver, certificates.
//
// Guarantees: a reader sees one version whole, and keeps it as long as its question takes; nobody waits for a reader, so a
// question may be slow and may ask in turn.

import Synchronization

/// Holds the version of a value that is in force.
///
/// A version is made once and never changed. Under the lock it is only taken or exchanged, which costs a reference.
package final class InForce<Value: Sendable>: Sendable {
    private final class Version: Sendable {
        let value: Value
        let number: UInt64

        init(_ value: Value, _ number: UInt64) { (self.value, self.number) = (value, number) }
    }

    private let version: Mutex<Version>

    package init(_ value: Value) { version = Mutex(Version(value, 1)) }

    /// The value in force, copied; cheap for a small one, from any thread.
    package var current: Value { latest.value }

    /// Asks the value in force without a copy of it: for large ones that are asked of every mail.
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

    private var latest: Version { version.withLock { $0 } }
}

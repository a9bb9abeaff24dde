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

        init(_ value: Value) { self.value = value }
    }

    private let version: Mutex<Version>

    package init(_ value: Value) { version = Mutex(Version(value)) }

    /// The value in force, copied; cheap for a small one, from any thread.
    package var current: Value { latest.value }

    /// Asks the value in force without a copy of it: for large ones that are asked of every mail.
    package func ask<Answer>(_ question: (borrowing Value) -> Answer) -> Answer { question(latest.value) }

    /// Puts another value in force.
    ///
    /// - Returns: the one that was.
    @discardableResult
    package func replace(with value: Value) -> Value {
        let new = Version(value)
        let old = version.withLock { version in
            defer { version = new }
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
            defer { version = Version(value) }
            return body(&value)
        }
    }

    private var latest: Version { version.withLock { $0 } }
}

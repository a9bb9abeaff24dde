// LogFile.swift — a log that a test reads, and a value that several threads change.

import Glibc
package import Log
import Synchronization

/// Lines of a relay in a file that is removed with it.
package final class LogFile: Sendable {
    package let sink: LogSink
    private let path: String
    private let descriptor: Int32

    package init() throws {
        path = "/tmp/martlet-log-\(getpid())-\(UInt64.random(in: 0 ... .max))"
        descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC, 0o600)
        guard descriptor >= 0 else { throw Unwritable() }
        sink = LogSink(descriptor: descriptor, level: .debug)
    }

    deinit {
        close(descriptor)
        unlink(path)
    }

    package struct Unwritable: Error {}

    /// The lines of an event, in order.
    package func lines(_ event: LogEvent) -> [String] {
        sink.flush()
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, 0) }
        let wanted = " \(event.text) "
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
            .split(separator: "\n")
            .filter { $0.contains(wanted) }
            .map(String.init)
    }
}

/// A value behind a lock.
package final class Box<Value: Sendable>: Sendable {
    private let value: Mutex<Value>

    package init(_ value: Value) { self.value = Mutex(value) }

    package func get() -> Value { value.withLock { $0 } }
    package func set(_ new: Value) { value.withLock { $0 = new } }
    package func change(_ body: @Sendable (inout Value) -> Void) { value.withLock { body(&$0) } }
}

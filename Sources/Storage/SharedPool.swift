// SharedPool.swift — connections for those who read, made when they are needed and kept.

import Database
import Glibc
import Mail
import Synchronization

/// Connections for short questions from threads of the disk pool.
final class SharedPool: Sendable {
    /// Milliseconds for which a server that went away is waited for.
    private static let grace: Int64 = 5_000
    private static let kept = 4

    private let place: String
    private let idle = Mutex<[ServerConnection]>([])

    init(_ place: String) { self.place = place }

    /// Asks something that may be asked again.
    ///
    /// Blocks.
    /// - Throws: ``QueueError/broken(_:)`` when the server is away, `.full` when its disk is.
    func use<Value>(
        _ body: (ServerConnection) throws(ServerError) -> Value
    ) throws(QueueError) -> Value {
        let end = Uptime.now().adding(milliseconds: Self.grace)
        while true {
            do throws(ServerError) {
                let connection = try take()
                let value = try body(connection)
                give(connection)
                return value
            } catch {
                guard error.isPassing, Uptime.now() < end else { throw QueueError(error) }
                // What is left of the pool went with it.
                idle.withLock { $0 = [] }
                usleep(100_000)
            }
        }
    }

    /// Asks once: the caller knows what a failure means.
    func once<Value>(_ body: (ServerConnection) throws(ServerError) -> Value) throws(ServerError) -> Value {
        let connection = try take()
        let value = try body(connection)
        give(connection)
        return value
    }

    private func take() throws(ServerError) -> ServerConnection {
        if let connection = idle.withLock({ $0.popLast() }) { return connection }
        return try ServerConnection(place)
    }

    private func give(_ connection: ServerConnection) {
        idle.withLock { if !connection.isLost, $0.count < Self.kept { $0.append(connection) } }
    }

    func close() { idle.withLock { $0 = [] } }
}

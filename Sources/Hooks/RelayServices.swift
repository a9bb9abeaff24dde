// RelayServices.swift — what a plugin may ask of the relay: read a message, and make a new one.

package import Log
package import Mail

/// Reads a message without knowing where it is stored.
package struct MessageContents: Sendable {
    /// Bytes.
    package let size: Int
    private let readPart: @Sendable (Int, Int) async throws(Failure) -> [UInt8]

    /// - Parameter read: octets from an offset, so many at most; fewer only at the end.
    package init(size: Int, read: @escaping @Sendable (Int, Int) async throws(Failure) -> [UInt8]) {
        self.size = size
        readPart = read
    }

    /// Some octets as they will be sent: lines end in CRLF, nothing is dot-stuffed.
    ///
    /// - Parameters:
    ///   - offset: from the message's beginning, bytes; beyond the end there is nothing.
    ///   - count: the most to read, bytes.
    /// - Throws: ``Failure`` when the message cannot be read.
    package func read(from offset: Int, atMost count: Int) async throws(Failure) -> [UInt8] {
        guard offset >= 0, offset < size, count > 0 else { return [] }
        return try await readPart(offset, min(count, size - offset))
    }
}

/// The relay, as plugins see it.
package protocol RelayServices: Sendable {
    /// Where plugins write their log lines.
    var log: LogSink { get }

    /// Our own host name now.
    var me: Domain { get }

    /// The message of that name.
    ///
    /// - Throws: ``Failure`` when the queue does not hold it, or it cannot be read.
    func contents(of id: QueueID) async throws(Failure) -> MessageContents

    /// Makes a mail: the document's `send_email(from, to, contents)`.
    ///
    /// `contents` is a header and a body; lines may end in LF or CRLF. Message-ID and Date are added where missing.
    /// - Returns: its name, once it is on disk; whether it is delivered is said by the hooks `delivered` and `bounce`.
    /// - Throws: ``Failure`` when it could not be queued.
    @discardableResult
    func submit(from: ReversePath, to: [EmailAddress], contents: [UInt8]) async throws(Failure) -> QueueID
}

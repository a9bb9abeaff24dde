// LargeBody.swift — the body of a message that is too big for memory and for a log segment, in a file of its own.

package import NIOCore

/// One body file under `large/`.
///
/// The spool makes it (see ``QueueStore/makeLargeBody(_:)``) and finds it again by the record.
///
/// Every call blocks: use a thread of the disk pool. Calls come one at a time, from whichever thread.
package protocol LargeBody: AnyObject, Sendable {
    /// Bytes written so far, or of the finished file.
    var size: Int { get }

    /// Appends bytes.
    func write(_ bytes: ByteBuffer) throws(QueueError)

    /// Syncs the file and its directory entry: after this the record that names it may be committed.
    func finish() throws(QueueError)

    /// Removes the file: the message was not accepted.
    func discard()

    /// Reads up to `count` bytes from `offset`; fewer only at the end.
    func read(at offset: Int, count: Int) throws(QueueError) -> ByteBuffer
}

// Examined.swift — the message that a milter looks at, as whoever talks to the milter sees it.

package import Milter
package import NIOCore

/// A message on its way through a milter; everything happens on its event loop.
package protocol Examined: AnyObject {
    /// So many octets behind the empty line, from an offset.
    ///
    /// - Returns: nil when they have to be waited for; then ``Examination/read(_:)``.
    func text(at offset: Int, count: Int) -> ByteBuffer?

    /// Takes the next octets of what takes the text's place.
    ///
    /// - Returns: false when no more is wanted for now; then ``Examination/goOn()``.
    func replace(by octets: ByteBuffer) -> Bool

    /// The milter is done, or there is no verdict.
    func examined(_ result: Result<MilterVerdict, MilterFault>)
}

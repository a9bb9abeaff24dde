// Ticket.swift — names a parcel inside the queue's index.

/// Names a parcel while it is in the index; its number is given to another one afterwards.
///
/// Four bytes, because the index keeps several of them for each parcel that waits.
package struct Ticket: Hashable, Sendable {
    package let number: UInt32

    package init(_ number: UInt32) { self.number = number }

    /// No parcel.
    package static let null = Ticket(.max)
}

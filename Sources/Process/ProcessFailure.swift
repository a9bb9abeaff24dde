// ProcessFailure.swift — why the process cannot become what it was told to be: one sentence for the operator.

/// A step towards the sockets or the user of the relay that failed.
package struct ProcessFailure: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}

// CommandFailure.swift — why a sub-command did nothing: one sentence on standard error, exit status 1.

/// Printed by the argument parser as `Error: …`.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

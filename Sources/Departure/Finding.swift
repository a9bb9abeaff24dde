// Finding.swift — what an examination came to: of `doctor`, and of the bulk rules that `explain` tells.

/// One thing that was examined.
package struct Finding: Hashable, Sendable {
    /// How it is.
    package enum State: String, Hashable, Sendable, CaseIterable {
        case good, bad
        /// Works, and is probably not what is wanted.
        case odd
        /// Could not be examined.
        case skipped
    }

    package let state: State
    /// What was examined, in a word or two.
    package let name: String
    package let detail: String
    /// What to do; empty when there is nothing.
    package let remedy: String

    package init(_ state: State, _ name: String, _ detail: String, _ remedy: String = "") {
        self.state = state
        self.name = name
        self.detail = detail
        self.remedy = remedy
    }

    /// There is something to do, and it is known what.
    package var needsRemedy: Bool { state != .good && !remedy.isEmpty }
}

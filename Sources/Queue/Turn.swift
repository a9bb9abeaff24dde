// Turn.swift — what the scheduler wants done now: the words between it and whoever opens sessions.

package import Mail

/// Names a session slot from the grant until its session stands, or never will.
package struct Opening: Hashable, Sendable {
    let number: UInt64
}

/// What is to be done now.
package struct Turn: Sendable {
    /// A lane whose opening may connect.
    package struct Connect: Sendable {
        package let lane: Lane
        package let opening: Opening
    }

    /// A lane that may find out where it goes.
    package struct LookUp: Sendable {
        package let lane: Lane
        /// Names it in ``lookUpCuts``.
        package let number: UInt64
    }

    /// Lanes that may find out where they go, each for one more session; without a slot.
    package var lookUps: [LookUp] = []
    /// Look-ups that take long while others want their places: they end, and nothing failed.
    package var lookUpCuts: [UInt64] = []
    /// Slots that were claimed for openings that are ``Scheduler/poise(_:)``d.
    package var connects: [Connect] = []
    /// Lanes that must wait for a limit or a pause: one of their openings that are poised is to end, and nothing failed.
    package var dismissals: [Lane] = []
    /// Openings that are silent while others want their slot: they try no longer.
    package var cuts: [Opening] = []
    /// Sessions without work that should end, because there are too many or because others wait for a slot.
    package var idleToEnd = 0
    /// Some lane has more sessions than it may: see ``Scheduler/hasTooMany(_:)``.
    package var trims = false
}

/// Why a lane may not have more sessions than it may.
package enum SessionLimit: String, Hashable, Sendable, CaseIterable {
    /// `concurrency_per_lane`.
    case perLane = "concurrency_per_lane"
    /// It has not answered to enough messages yet.
    case unproven
    /// It turned sessions away.
    case turnedAway = "turned_away"
    /// Other nodes have what is left of `concurrency_per_lane`.
    case grant
    /// It could not be reached: one tries.
    case unreachable
}

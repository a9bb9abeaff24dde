// WaitingReason.swift — why a message is not being delivered right now: every wait there is, each with its rule, where that
// stands, since when and what ends it. A value.

package import Mail

/// Who says when a parcel is tried again, where that is not `temp_fail_intervals`.
package struct WaitRule: Hashable, Sendable {
    /// `reaction NAME`, `plugin`.
    package let rule: String
    /// Where it stands: `limits.ini:12`.
    package let origin: String

    package init(_ rule: String, in origin: String) { (self.rule, self.origin) = (rule, origin) }

    /// A plugin said when.
    package static let plugin = WaitRule("plugin", in: "hooks.ini")
}

/// Why a message is not being delivered right now.
package struct WaitingReason: Hashable, Sendable {
    /// What stands in the way.
    package enum Code: String, Hashable, Sendable, CaseIterable {
        /// Its time has not come after a failure.
        case retryTimer = "retry_timer"
        /// Its next hop could not be reached and is left alone for a while.
        case laneRests = "lane_rests"
        /// Its next hop has as many sessions as one may have.
        case laneLimit = "lane_limit"
        /// There are as many sessions as there may be.
        case totalLimit = "total_limit"
        /// Delivery is switched off.
        case disabled
        case held
        /// It bounces when its grace is over, unless somebody revives it.
        case dying
        /// It waits for its turn in a session, or for one to be opened.
        case sessionSlot = "session_slot"
        /// Plugins are to be asked about it, or are being asked.
        case plugins
        /// This node's lease of the shared queue ran out.
        case lease
        /// A limit of `limits.ini`.
        case limit
        /// Somebody paused what it belongs to.
        case paused
    }

    package let code: Code
    package let lane: Lane?
    /// When it ends, as far as that is known.
    package let until: Timestamp?
    /// One sentence for people.
    package let text: String
    /// What keeps it: `rate 20/m of provider google`, `concurrency_max`.
    package let rule: String
    /// Where the rule is said: `limits.ini:12`; `outbound.ini` without a line: nowhere, so that its default counts.
    package let origin: String
    /// When it began, as far as this process knows.
    package let since: Timestamp

    /// What ends it, in words; where ``until`` is known, it ends then or by these.
    package var ends: String {
        switch code {
        case .retryTimer: "at its time, or by a retry"
        case .laneRests: "at its time, or when the next hop is reached"
        case .laneLimit: "when a session of the next hop is free, or may be opened"
        case .totalLimit: "when a session ends"
        case .disabled: "when delivery is switched on"
        case .held: until == nil ? "when it is released" : "at its time, or when it is released"
        case .dying: "at its time by bouncing, or when it is revived"
        case .sessionSlot: "when its turn comes"
        case .plugins: "when the plugins have answered"
        case .lease: "when the shared queue answers again"
        case .limit: until == nil ? "when one of the sessions that count ends" : "at its time"
        case .paused: until == nil ? "when it is resumed" : "at its time, or when it is resumed"
        }
    }
}

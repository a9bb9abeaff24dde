// LaneState.swift — what the scheduler knows of one lane: its line, its sessions, and what it has earned.

import Mail

struct LaneState: Sendable {
    /// Sessions of a lane that has proved nothing.
    static let firstWindow = 5
    /// Openings of a lane without a slot, once it has proved something; before that it is one.
    private static let seekingOfProven = 4

    let lane: Lane
    /// It leaves from an address of a pool.
    let isPooled: Bool
    /// It is of a pool that nobody knows yet: it has no address.
    let isUnplaced: Bool
    /// Where answers to its address are counted.
    var health = HealthNumber.null
    /// Its address is blocked there of late: others of its pool come first.
    var isUnwell = false
    /// When it asks again who else is well.
    var asksHealthAt = Uptime(milliseconds: 0)
    /// Its address is of the pool no longer.
    var isForeign = false
    /// Its openings that wait for a slot wait in vain, since its mail went to others of its pool; they are on their way out.
    var isDismissed = false
    /// What stands in its line goes to others of its pool.
    var isMoving = false
    /// The line of tickets that are due: its head and its end.
    var first = Ticket.null
    var last = Ticket.null
    /// Tickets in the line.
    var ready = 0
    /// Tickets that name this lane.
    var members = 0
    var inFlight = 0
    var held = 0
    /// Waiting tickets that only wait because the next hop could not be reached.
    var stranded = 0
    /// They are being made due again.
    var isReleasing = false

    /// Session slots: those being opened and those that are ending included.
    var sessions = 0
    /// Slots whose session does not stand yet.
    var opening = 0
    /// Slots whose session was asked to end.
    var leaving = 0
    /// Openings without a slot that ask where to go.
    var lookingUp = 0
    /// Openings that know where to go and wait for a slot.
    var poised = 0
    /// Its last look-up took long and made room for others.
    var isNameless = false

    /// Sessions that it may have as it has answered so far: doubles while it answers, halves when it turns us away.
    var window = Self.firstWindow
    /// Up to here the window grows with every answer, beyond it one at a time.
    var ceiling = Int.max
    /// When the window may grow beyond its ceiling.
    var climbsAt = Uptime(milliseconds: 0)
    /// How often in a row it turned us away; each doubles the time until the window grows.
    var refusals: Int64 = 0
    var refusedAt: Uptime?
    /// When it last answered to a message.
    var answeredAt: Uptime?
    /// It has answered to a message, and nothing else came since.
    var isProven = false
    /// Its last answer took long.
    var isSlow = false
    /// Sessions that ended without having carried a message, less those that did.
    var fruitless = 0

    /// Sessions that it may have here, where several nodes share the queue.
    var grant = Int.max

    /// Where it is counted.
    var meters: [MeterNumber] = []
    /// Its hosts in normal form, where somebody asks for them.
    var hosts: [String] = []
    /// Messages of one session.
    var mostPerSession = Int.max
    /// The meter that it waits at with everything.
    var messageGate = MeterNumber.null
    var gateStamp: UInt32 = 0
    /// The meter that it waits at for one more session.
    var sessionGate = MeterNumber.null
    var sessionStamp: UInt32 = 0
    /// It waited for a session and may open one now, before others that come.
    var hasPlace = false
    /// Tickets that are due and wait at a meter.
    var parked = 0
    /// Messages of late, where a reaction asks.
    var lately = LateCount()

    /// Rests in a row without an answer.
    var rests = 0
    var restsUntil: Uptime?
    /// When the first of them began.
    var restsSince: Uptime?
    /// What was said or found that made it rest.
    var trouble = ""
    /// The end of the shortest rest.
    var mayProbe: Uptime?
    /// After a rest one session tries, alone until then.
    var probesUntil: Uptime?
    var stamp: UInt32

    init(lane: Lane, stamp: UInt32, isProven: Bool = false) {
        self.lane = lane
        isPooled = lane.source?.pool != nil
        isUnplaced = lane.source?.isAnyOfPool ?? false
        self.stamp = stamp
        self.isProven = isProven
    }

    /// Sessions that stand and were not asked to end.
    var standing: Int { max(0, sessions - opening - leaving) }

    /// Sessions that it may have now.
    func allowed(_ perLane: Int) -> Int { min(perLane, max(1, window), grant) }

    private var mayTry: Bool {
        restsUntil == nil && probesUntil == nil && messageGate == .null && sessionGate == .null && !isMoving
            && !isUnplaced
    }

    /// More parcels stand in line than sessions are idle or about to be.
    func wantsLookUp(_ perLane: Int) -> Bool {
        guard ready > 0, mayTry else { return false }
        let seeking = lookingUp + poised
        guard seeking < (isProven ? Self.seekingOfProven : 1) else { return false }
        guard sessions - leaving + seeking < allowed(perLane) else { return false }
        return ready > seeking + opening + max(0, standing - inFlight)
    }

    /// It knows where to go and may have one more session.
    func wantsSlot(_ perLane: Int) -> Bool {
        poised > 0 && !isDismissed && mayTry && sessions < grant && sessions - leaving < allowed(perLane)
    }

    /// Where it waits for a look-up.
    var lookClass: Ring { isNameless ? .failing : slotClass }

    /// Where it waits for a slot.
    var slotClass: Ring {
        if rests > 0 { return .failing }
        guard sessions > 0 else { return isSlow ? .slow : isProven ? .swift : .fresh }
        return isProven ? .common : .eager
    }
}

// Settler+Discard.swift — mail whose route says `discard`: it leaves the queue, and goes nowhere.
//
// Nobody is told but the log and the metrics: no report is made, whatever the sender asked for, and no plugin hears of a
// delivery that was none.

import Log
import Mail
import Queue

extension Settler {
    /// Parcels that are looked at together.
    private static let mostAtOnce = 64

    /// Discards everything that is due in a lane.
    ///
    /// - Parameter words: of the route, for the log.
    func discardDue(of lane: Lane, because words: String) async {
        while true {
            let parcels = queue.takeDue(in: lane, atMost: Self.mostAtOnce, at: .now())
            if parcels.isEmpty { return }
            for assignment in await load(parcels) { discard(assignment, because: words) }
        }
    }

    private func discard(_ assignment: Assignment, because words: String) {
        let (parcel, envelope) = (assignment.parcel, assignment.envelope)
        let wall = Timestamp.now()
        for recipient in parcel.recipients {
            let address = envelope.recipients[Int(recipient)].address
            log.write(.discarded) { line in
                line.add(.id, parcel.id.message.description)
                line.add(.to, address.local, UInt8(ascii: "@"), address.domain.name)
                line.add(.lane, parcel.lane.description)
                line.add(.reply, words)
                line.add(.age, seconds: wall.milliseconds &- parcel.acceptedAt.milliseconds)
            }
        }
        RouteMetrics.of(parcel.lane).countDiscarded(parcel.recipients.count)
        let isFinished = queue.settle(
            parcel,
            done: parcel.recipients,
            bounced: parcel.recipients,
            isDiscarded: true,
            deferred: nil,
            at: .now(),
            wall: wall
        )
        if isFinished { logFinished(parcel, wall) }
    }
}

// MailQueue+Preparation.swift — parcels that plugins are asked about before they enter the lane of their next hop.
//
// Such a parcel stands in a preparation lane, one for each domain so that turns are fair, and never in two places: it is
// in flight while plugins are asked, then in its lane or waiting for another time. What the plugins said is not stored:
// after a restart they are asked again.

package import Mail
package import Storage
import Synchronization

extension MailQueue {
    /// Whether plugins are to be asked about every parcel, from now on.
    ///
    /// - Returns: whether this changed; then ``reroute()`` moves the parcels that wait already.
    package func setPreparing(_ prepares: Bool) -> Bool {
        state.withLock { state in
            defer { state.prepares = prepares }
            return state.prepares != prepares
        }
    }

    /// Parcels to ask about now; each is given back with ``prepared(_:at:lane:)`` or ``settle(_:done:deferred:at:wall:)``.
    package func takeToPrepare(at now: Uptime) -> [Parcel] {
        state.withLock { state in state.scheduler.takeToPrepare(at: now).compactMap { state.describe($0) } }
    }

    /// The envelope of a message whose bytes are in memory; nil when it must be read with ``readEnvelope(of:)``.
    package func residentEnvelope(of id: QueueID) -> Envelope? {
        state.withLock { state in state.slot(of: id).flatMap { state[$0]?.resident?.envelope } }
    }

    /// The envelope of a message.
    ///
    /// Blocks: use ``disk``.
    ///
    /// - Throws: ``QueueError`` when it cannot be read.
    package func readEnvelope(of id: QueueID) throws(QueueError) -> Envelope {
        guard let location = state.withLock({ state in state.slot(of: id).flatMap { state[$0]?.location } }) else {
            throw .damaged("message \(id) is not in the queue")
        }
        return try readEnvelope(id, at: location)
    }

    /// The next hop a recipient would take by route table and DNS.
    package func usualLane(of recipient: EmailAddress, _ envelope: Envelope) -> Lane { laneOf(recipient, envelope) }

    /// Plugins were asked: a parcel enters its lane, or several where its recipients go different ways.
    ///
    /// - Parameter lane: of a recipient, by its index in the envelope.
    package func prepared(_ parcel: Parcel, at now: Uptime, lane: (UInt32) -> Lane) {
        let ticket = parcel.id.ticket
        state.withLock { state in
            guard let slot = state.slot(of: parcel.id.message), state.scheduler.isInFlight(ticket),
                state.parcel(ticket).message == slot
            else { return }
            let groups = parcelling(parcel.recipients, limit: state.options.recipientsPerParcel, lane: lane)
            for group in groups {
                let new = state.addParcel(of: slot, group.recipients, to: group.lane, due: now, at: now)
                state.inherit(new, group.recipients, from: ticket)
            }
            state.removeParcel(ticket)
        }
        wakeDispatcher()
    }
}

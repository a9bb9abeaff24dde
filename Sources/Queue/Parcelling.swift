// Parcelling.swift — recipients into parcels. Pure.

package import Mail

/// Groups recipients by lane, in the order in which the lanes first occur.
///
/// - Parameters:
///   - recipients: indices into the envelope, rising.
///   - limit: recipients per parcel; more make further parcels of the same lane. `alwaysSplit` is a limit of one.
///   - lane: the next hop of one recipient.
/// - Returns: at least one parcel per lane; the recipients of each rise.
package func parcelling(
    _ recipients: some Sequence<UInt32>,
    limit: Int,
    lane: (UInt32) -> Lane
) -> [(lane: Lane, recipients: [UInt32])] {
    var parcels: [(lane: Lane, recipients: [UInt32])] = []
    var open: [Lane: Int] = [:]
    for recipient in recipients {
        let lane = lane(recipient)
        // One domain is the common case: compare with the last parcel before asking the table.
        if let last = parcels.indices.last, parcels[last].lane == lane, parcels[last].recipients.count < limit {
            parcels[last].recipients.append(recipient)
        } else if let index = open[lane], parcels[index].recipients.count < limit {
            parcels[index].recipients.append(recipient)
        } else {
            // A table of one is none: most messages need no other parcel.
            if parcels.count == 1 { open[parcels[0].lane] = 0 }
            if !parcels.isEmpty { open[lane] = parcels.count }
            parcels.append((lane, [recipient]))
        }
    }
    return parcels
}

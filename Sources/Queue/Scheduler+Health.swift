// Scheduler+Health.swift — what next hops answer to each address of ours: an address that a provider blocks is unwell there, and mail of a
// pool goes over those that are well. Nothing else comes of it: a lone address sends on. Time is passed in.

package import Mail

extension Scheduler {
    /// Records that are shown at most.
    package static let mostHealth = 1000

    /// Counts a lane's answers where its address and its provider are counted.
    mutating func joinHealth(_ number: LaneNumber) {
        let lane = lanes[number].lane
        guard let source = lane.source, !source.isAnyOfPool, source.v4 != nil || source.v6 != nil, !lane.isPreparation
        else { return }
        health.leave(lanes[number].health)
        lanes[number].health = health.join(healthKey(lane, lanes[number].hosts))
        let found = lanes[number].health
        lanes[number].isUnwell = found != .null && health.entries[found].isUnwell
    }

    func healthKey(_ lane: Lane, _ hosts: [String]) -> HealthKey {
        HealthKey(
            addresses: lane.source?.addresses ?? [],
            place: book.rules.provider(of: hosts) ?? lane.name.cut(octets: 255)
        )
    }

    /// A next hop answered to mail from an address of ours.
    ///
    /// - Parameter words: the reply.
    /// - Returns: whether the address became unwell there.
    package mutating func noteHealth(
        _ answer: SourceRecord.Answer,
        _ words: @autoclosure () -> String,
        from lane: Lane,
        at now: Uptime
    ) -> Bool {
        health.sweep(at: now)
        guard let number = laneIndex[lane], lanes[number].health != .null else { return false }
        let place = lanes[number].health
        health.entries[place].record.add(answer, words(), at: now)
        let isUnwell = health.entries[place].record.isUnwell(at: now)
        guard isUnwell != health.entries[place].isUnwell else { return false }
        setHealth(place, isUnwell: isUnwell)
        return isUnwell
    }

    /// Once a second: what was unwell is tried again when its blocks are long past.
    mutating func heal(at now: Uptime) {
        for place in health.unwell where !health.entries[place].record.isUnwell(at: now) {
            setHealth(place, isUnwell: false)
        }
    }

    private mutating func setHealth(_ place: HealthNumber, isUnwell: Bool) {
        health.entries[place].isUnwell = isUnwell
        if isUnwell { health.unwell.insert(place) } else { health.unwell.remove(place) }
        poolBook.forget()
        for number in lanes.keys where lanes[number].health == place && laneIndex[lanes[number].lane] == number {
            lanes[number].isUnwell = isUnwell
            lanes[number].asksHealthAt = Uptime(milliseconds: 0)
        }
    }

    /// How addresses of ours fare, those that are unwell first, then by what went.
    package func healthReport(at now: Uptime) -> (items: [SourceHealth], total: Int) {
        let all = health.all.compactMap { number -> SourceHealth? in
            let entry = health.entries[number]
            let counts = entry.record.counts(at: now)
            guard counts.total > 0 else { return nil }
            return SourceHealth(
                addresses: entry.key.addresses,
                place: entry.key.place,
                counts: counts,
                isWell: !entry.record.isUnwell(at: now),
                until: entry.record.wellAgain(after: now),
                said: entry.record.said
            )
        }
        let sorted = all.sorted { a, b in
            if a.isWell != b.isWell { return b.isWell }
            if a.counts.total != b.counts.total { return a.counts.total > b.counts.total }
            return "\(a.place) \(a.addresses)" < "\(b.place) \(b.addresses)"
        }
        return (Array(sorted.prefix(Self.mostHealth)), all.count)
    }

    /// Addresses that are unwell somewhere.
    package var unwellCount: Int { health.unwell.count }
}

// LimitFiles.swift — pauses, what reactions hold down, and what of limits was used, kept over restarts in the data directory:
// `pauses`, `reactions` and `limits.used`.
//
// They are text, a line for each scope, replaced whole. A pause is on disk before it is answered. The others are written once
// a second while they change; a line that does not say what it should is left out.

package import Files
import Mail

/// What a scope had used.
struct MeterRecord: Hashable, Sendable {
    let scope: LimitScope
    var rate: Pace
    var connects: Pace
    var day: WindowCount
    var warmth = WarmthCount()
}

/// Where they are.
package struct LimitFiles: Sendable {
    private static let largest = 64 << 20
    private let directory: String
    private let disk: any Disk

    /// - Parameter directory: the data directory.
    package init(in directory: String, _ disk: any Disk) {
        self.directory = directory
        self.disk = disk
    }

    private func lines(_ name: String) -> [[String]] {
        do throws(DiskError) {
            let bytes = try disk.contents(of: "\(directory)/\(name)", limit: Self.largest)
            return bytes.split(octet: "\n").map { line in
                line.split(octet: " ", omittingEmpty: false).map { String(decoding: $0, as: UTF8.self) }
            }
        } catch {
            // Nothing was ever paused or limited, or it is learnt again.
            return []
        }
    }

    // MARK: pauses

    /// Those that were in force.
    ///
    /// Blocks.
    func pauses() -> [Pause] { lines("pauses").compactMap { Self.pause($0) } }

    private static func pause(_ words: [String]) -> Pause? {
        guard words.count == 5, let since = Int64(words[0]), let scope = scope(words[2]),
            let actor = PercentEncoding.decoded(words[3]), let reason = PercentEncoding.decoded(words[4])
        else { return nil }
        let until = Int64(words[1])
        guard until != nil || words[1].isSame(octets: "-") else { return nil }
        return Pause(
            scope,
            since: Timestamp(milliseconds: since).clamped,
            until: until.map { Timestamp(milliseconds: $0).clamped },
            reason: reason,
            by: actor
        )
    }

    /// Reads a line of ``line(_:)``.
    static func pause(_ line: [UInt8]) -> Pause? {
        pause(line.split(octet: " ", omittingEmpty: false).map { String(decoding: $0, as: UTF8.self) })
    }

    /// A pause as a line, without its end.
    static func line(_ pause: Pause) -> String {
        let until = pause.until.map { "\($0.milliseconds)" } ?? "-"
        let words = [pause.scope.description, pause.actor, pause.reason].map { PercentEncoding.encoded($0) }
        return "\(pause.since.milliseconds) \(until) \(words.joined(separator: " "))"
    }

    /// Writes them down.
    ///
    /// Blocks.
    func save(_ pauses: [Pause]) throws(DiskError) {
        let lines = pauses.sorted { $0.since < $1.since }.map { Self.line($0) + "\n" }
        try disk.replace("\(directory)/pauses", with: Array(lines.joined().utf8))
    }

    private static func scope(_ word: String) -> LimitScope? {
        PercentEncoding.decoded(word).flatMap { LimitScope($0) }
    }

    // MARK: reactions

    /// What reactions held down.
    ///
    /// Blocks.
    func slowings() -> [Slowing] {
        lines("reactions").compactMap { words in
            guard words.count == 11, let scope = Self.scope(words[0]), let kind = Slowing.Kind(rawValue: words[1]),
                let reaction = PercentEncoding.decoded(words[2]), let origin = PercentEncoding.decoded(words[3]),
                let said = PercentEncoding.decoded(words[10])
            else { return nil }
            let levels = words[4...6].compactMap { Int($0) }
            let times = words[7...9].compactMap { Int64($0) }.map { Timestamp(milliseconds: $0).clamped }
            guard levels.count == 3, times.count == 3 else { return nil }
            return Slowing(
                scope: scope,
                reaction: reaction,
                origin: origin,
                kind: kind,
                since: times[0],
                levels: (levels[0], levels[1], levels[2]),
                times: (times[1], times[2]),
                said: said
            )
        }
    }

    /// Writes them down.
    ///
    /// Blocks.
    func save(_ slowings: [Slowing]) throws(DiskError) {
        let lines = slowings.map { slowing in
            let names = [slowing.scope.description, slowing.kind.rawValue, slowing.reaction, slowing.origin]
            let levels = [slowing.level, slowing.base, slowing.refusedAt].map { "\($0)" }
            let times = [slowing.since, slowing.loweredAt, slowing.stepsAt].map { "\($0.milliseconds)" }
            let words = names.map { PercentEncoding.encoded($0) } + levels + times
            return (words + [PercentEncoding.encoded(slowing.said)]).joined(separator: " ") + "\n"
        }
        try disk.replace("\(directory)/reactions", with: Array(lines.joined().utf8))
    }

    // MARK: meters

    /// What scopes had used, in microseconds of the wall clock.
    ///
    /// Blocks.
    func meters() -> [MeterRecord] {
        lines("limits.used").compactMap { words in
            guard words.count == 5 || words.count == 8, let scope = Self.scope(words[0]), let rate = Int64(words[1]),
                let connects = Int64(words[2]), let newest = Int64(words[3])
            else { return nil }
            var warmth = WarmthCount()
            if words.count == 8, let last = Int64(words[5]), let count = Int(words[6]), let days = Int(words[7]) {
                warmth = WarmthCount(last: last, count: count, days: days)
            }
            let counts = words[4].split(octet: ",").compactMap { Int($0) }
            return MeterRecord(
                scope: scope,
                rate: Pace(arrival: rate),
                connects: Pace(arrival: connects),
                day: WindowCount(counts, newest: newest),
                warmth: warmth
            )
        }
    }

    /// Writes it down.
    ///
    /// Blocks.
    func save(_ meters: [MeterRecord]) throws(DiskError) {
        let lines = meters.map { record in
            let counts = record.day.counts.map(String.init).joined(separator: ",")
            let scope = PercentEncoding.encoded(record.scope.description)
            let line = "\(scope) \(record.rate.arrival) \(record.connects.arrival) \(record.day.newest) \(counts)"
            guard let last = record.warmth.last else { return "\(line)\n" }
            return "\(line) \(last) \(record.warmth.count) \(record.warmth.days)\n"
        }
        try disk.replace("\(directory)/limits.used", with: Array(lines.joined().utf8))
    }
}

extension MeterBook {
    /// What is used of limits, in microseconds of the wall clock.
    func records(at now: Uptime) -> [MeterRecord] {
        let wall = wall(now)
        let kept = saved.values.map { $0.moved(by: epoch) }
        return kept
            + all.compactMap { number in
                let meter = meters[number]
                let time = now.milliseconds * 1000
                guard
                    meter.rate.arrival > time || meter.connects.arrival > time || meter.day.total(at: wall) > 0
                        || meter.warmth.days > 0
                else { return nil }
                let (rate, connects, day, warmth) = (meter.rate, meter.connects, meter.day, meter.warmth)
                return MeterRecord(scope: meter.scope, rate: rate, connects: connects, day: day, warmth: warmth)
                    .moved(by: epoch)
            }
    }

    /// Takes over what an earlier process had used.
    ///
    /// What lies further ahead than a day was written under another clock: it counts from now.
    mutating func restore(_ records: [MeterRecord], at now: Uptime) {
        let latest = now.milliseconds * 1000 + 86_400_000_000
        for record in records {
            var record = record.moved(by: -epoch)
            record.rate.arrival = min(record.rate.arrival, latest)
            record.connects.arrival = min(record.connects.arrival, latest)
            saved[record.scope] = record
        }
    }
}

extension MeterRecord {
    /// From one clock to another.
    fileprivate func moved(by milliseconds: Int64) -> MeterRecord {
        func moved(_ pace: Pace) -> Pace {
            let (sum, isBeyond) = pace.arrival.addingReportingOverflow(milliseconds * 1000)
            return isBeyond ? Pace() : Pace(arrival: sum)
        }
        return MeterRecord(scope: scope, rate: moved(rate), connects: moved(connects), day: day, warmth: warmth)
    }
}

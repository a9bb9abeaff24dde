// WaitingScreen.swift — `/v1/stats/waiting` as text: destinations by age, and what servers said.

import JSON
import Mail

/// What waits, for a terminal.
struct WaitingScreen {
    /// Troubles that are shown.
    private static let most = 8

    let waiting: JSON
    /// Columns; nil: as many as it takes.
    let width: Int?
    /// Seconds since 1970.
    let now: Int

    var text: String {
        [rows.isEmpty ? "" : shape, troubles].filter { !$0.isEmpty }.joined(separator: "\n\n")
    }

    private var rows: [JSON] { waiting["routes"]?.elements ?? [] }

    /// Destinations by age; the first line is all of them.
    var shape: String {
        let bounds = (waiting["age_bounds_s"]?.elements ?? []).compactMap(\.integer)
        let head = ["destination", "all"] + bounds.map { "\($0 / 60)m" } + [(bounds.last).map { ">\($0 / 60)m" } ?? ""]
        let ages = rows.map { row in (row["ages"]?.elements ?? []).map { $0.integer ?? 0 } }
        let others = waiting["other_parcels"]?.integer ?? 0
        let total = rows.reduce(others) { $0 + ($1["parcels"]?.integer ?? 0) }
        let sums = head.indices.dropFirst(2).map { column in ages.reduce(0) { $0 + ($1.element(column - 2) ?? 0) } }
        var table = [["TOTAL", "\(total)"] + sums.map(Self.number)]
        for (row, ages) in zip(rows, ages) {
            let name = Printout.word(row["route"] ?? .null)
            table.append(
                [name, Printout.word(row["parcels"] ?? .null)] + sums.indices.map { Self.number(ages.element($0) ?? 0) }
            )
        }
        let hidden = waiting["other_routes"]?.integer ?? 0
        let more = hidden > 0 ? "\n… and \(hidden) more with \(others) parcels" : ""
        return Printout.table(head, table, width: width) + more
    }

    /// What was last said, the most frequent first.
    private var troubles: String {
        let all = waiting["problems"]?.elements ?? []
        guard !all.isEmpty else { return "" }
        let lines = all.prefix(Self.most).map { one in
            let oldest = one["oldest_at"]?.string.flatMap(ClockTime.second).map {
                Printout.span(seconds: max(0, now - $0))
            }
            return [
                Printout.word(one["parcels"] ?? .null), oldest ?? "", Printout.word(one["route"] ?? .null),
                Printout.word(one["reason"] ?? .null), Printout.word(one["reply"] ?? .null),
            ]
        }
        return Printout.table(["parcels", "oldest", "destination", "reason", "they said"], lines, width: width)
    }

    private static func number(_ value: Int) -> String { value == 0 ? "." : "\(value)" }

    /// A drawing over the last one, without a flicker.
    static func drawn(_ text: String) -> String {
        "\u{1B}[H" + text.split(octet: "\n", omittingEmpty: false).joined(separator: "\u{1B}[K\n") + "\u{1B}[K\u{1B}[J"
    }
}

extension Array {
    fileprivate func element(_ place: Int) -> Element? { indices.contains(place) ? self[place] : nil }
}

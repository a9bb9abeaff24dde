// LineDiff.swift — what an edit would change, as a patch for people and pipelines.

/// The difference of two texts in the unified format, as one hunk.
enum LineDiff {
    private static let context = 3
    /// Keys whose values nobody is shown.
    private static let secrets = ["pass", "secret", "token", "hash", "key"]

    /// - Returns: empty when the texts are the same.
    static func of(_ old: String, _ new: String, file: String) -> String {
        let (before, after) = (lines(old), lines(new))
        guard before != after else { return "" }
        let head = zip(before, after).prefix { $0 == $1 }.count
        let most = min(before.count, after.count) - head
        let tail = zip(before.reversed(), after.reversed()).prefix(most).prefix { $0 == $1 }.count
        let start = max(0, head - context)
        let end = min(context, tail)
        let removed = before[head..<(before.count - tail)]
        let added = after[head..<(after.count - tail)]
        let above = before[start..<head]
        let below = before[(before.count - tail)..<(before.count - tail + end)]
        let (oldCount, newCount) = (above.count + removed.count + end, above.count + added.count + end)
        let header = "@@ -\(place(start, oldCount)) +\(place(start, newCount)) @@"
        let hunk =
            above.map { " \(shown($0))" } + removed.map { "-\(shown($0))" } + added.map { "+\(shown($0))" }
            + below.map { " \(shown($0))" }
        return (["--- \(file)", "+++ \(file)", header] + hunk).joined(separator: "\n") + "\n"
    }

    private static func place(_ start: Int, _ count: Int) -> String { "\(count == 0 ? start : start + 1),\(count)" }

    private static func lines(_ text: String) -> [String] {
        var found = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        if found.last == "" { found.removeLast() }
        return found
    }

    /// A line without the values of secrets, wherever they stand on it.
    private static func shown(_ line: String) -> String {
        var line = line
        for secret in secrets {
            guard let found = line.utf8.firstRange(ofName: secret),
                let equals = line.utf8[found...].firstIndex(of: 0x3D)
            else { continue }
            let rest = line[line.utf8.index(after: equals)...]
            let reference = rest.drop { $0 == " " || $0 == "\t" }
            if reference.isEmpty || reference.hasPrefix("@file:") || reference.hasPrefix("@env:") { continue }
            line = "\(line[...equals]) (secret)"
        }
        return line
    }
}

extension String.UTF8View {
    /// Where an ASCII name occurs, in any case of letters.
    fileprivate func firstRange(ofName name: String) -> Index? {
        let wanted = Array(name.utf8)
        var start = startIndex
        while start != endIndex {
            if self[start...].prefix(wanted.count).map({ $0 | 0x20 }) == wanted { return start }
            start = index(after: start)
        }
        return nil
    }
}

// LineDiff.swift — what an edit would change, as a patch for people and pipelines.
//
// Guarantees: lines that do not change are not shown, because they are nobody's business who edits another one; of those
// that do, `Redaction` tells what may be seen.

import Mail

/// The difference of two texts in the unified format, as one hunk without context.
enum LineDiff {
    /// - Returns: empty when the texts are the same.
    static func of(_ old: String, _ new: String, file: String) -> String {
        let (before, after) = (lines(old), lines(new))
        let head = zip(before, after).prefix { $0.isSame(octets: $1) }.count
        let most = min(before.count, after.count) - head
        let tail = zip(before.reversed(), after.reversed()).prefix(most).prefix { $0.isSame(octets: $1) }.count
        let (removed, added) = (head..<(before.count - tail), head..<(after.count - tail))
        guard !removed.isEmpty || !added.isEmpty else { return "" }
        let header = "@@ -\(place(removed)) +\(place(added)) @@"
        let hunk = shown(old, removed, file).map { "-\($0)" } + shown(new, added, file).map { "+\($0)" }
        return (["--- \(file)", "+++ \(file)", header] + hunk).joined(separator: "\n") + "\n"
    }

    private static func place(_ lines: Range<Int>) -> String {
        "\(lines.isEmpty ? lines.lowerBound : lines.lowerBound + 1),\(lines.count)"
    }

    private static func lines(_ text: String) -> [Substring] {
        var found = text.split(octet: "\n", omittingEmpty: false)
        if found.last?.isEmpty == true { found.removeLast() }
        return found
    }

    private static func shown(_ text: String, _ lines: Range<Int>, _ file: String) -> [String] {
        let all = Redaction.lines(of: INIDocument(parsing: text), in: file)
        return lines.map { $0 < all.count ? all[$0] : "" }
    }
}

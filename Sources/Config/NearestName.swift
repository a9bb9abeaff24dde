// NearestName.swift — what somebody probably meant to write.

/// Finds the known name that is a few letters away from an unknown one.
enum NearestName {
    /// `; did you mean …?` for the end of a sentence, or nothing.
    static func hint(for name: String, among names: [String]) -> String {
        of(name, among: names).map { "; did you mean \($0)?" } ?? ""
    }

    /// The name that was probably meant.
    ///
    /// - Returns: the closest of `names`, or nil when none is within a third of the name's length.
    static func of(_ name: String, among names: [String]) -> String? {
        // characters: a guess that a person reads
        let wanted = Array(name.lowercased().utf8.prefix(100))
        let limit = max(1, wanted.count / 3)
        let ranked = names.map { (name: $0, distance: distance(wanted, Array($0.lowercased().utf8))) }
        guard let best = ranked.min(by: { $0.distance < $1.distance }), best.distance <= limit else { return nil }
        return best.name
    }

    /// Levenshtein's: insertions, deletions and replacements of one byte.
    private static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var row = Array(0...b.count)
        for (i, byte) in a.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, other) in b.enumerated() {
                let above = row[j + 1]
                row[j + 1] = min(above + 1, row[j] + 1, diagonal + (byte == other ? 0 : 1))
                diagonal = above
            }
        }
        return row[b.count]
    }
}

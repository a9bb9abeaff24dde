// SpoolNames.swift — gives segments their own names back, before recovery looks at them.
//
// A segment knows its sequence number. One that was restored under another name, or two that were swapped, are sound:
// only the name is wrong. Guarantee: a crash in between leaves wrong names of the same kind, which the next start puts
// right; no name is ever replaced.

import Files

enum SpoolNames {
    /// Renames each segment of records whose name says another number than its headers, unless a rightful one is there:
    /// then it is a copy, and recovery sets it aside.
    static func restore(_ context: SpoolContext) throws(DiskError) {
        var numbers: Set<UInt32> = []
        for entry in try context.disk.list(context.directory) where entry.kind == .file {
            if let number = SegmentFile.sequence(entry.name) { numbers.insert(number) }
        }
        var claims: [UInt32: UInt32] = [:]
        for number in numbers {
            if let claim = claim(of: number, context) { claims[number] = claim }
        }
        var rightful = Set(claims.filter { $0.key == $0.value }.keys)
        var wrong = claims.filter { $0.key != $0.value }.keys.sorted(by: >)
        guard !wrong.isEmpty else { return }
        while let number = wrong.popLast() {
            guard let claim = claims[number], rightful.insert(claim).inserted else { continue }
            if numbers.contains(claim) {
                // Whoever has the name gets a free one; if it is a misnamed segment too, its turn comes.
                let free = (numbers.max() ?? 0) &+ 1
                guard free != 0, rename(claim, to: free, context) else { continue }
                numbers.insert(free)
                numbers.remove(claim)
                claims[free] = claims[claim]
                wrong = wrong.map { $0 == claim ? free : $0 }
            }
            guard rename(number, to: claim, context) else { continue }
            numbers.insert(claim)
            numbers.remove(number)
            context.report(.damaged, SegmentFile.name(number), "is \(SegmentFile.name(claim)) and was renamed")
        }
        try context.disk.syncDirectory(context.directory)
    }

    /// The number in a segment's headers; its name's when one of them agrees, nil when it holds no records.
    private static func claim(of number: UInt32, _ context: SpoolContext) -> UInt32? {
        guard let file = try? context.disk.open(context.path(number), .read, permissions: 0),
            let size = try? file.status().size, size >= SegmentHeader.size
        else { return nil }
        let claims = [0, size - SegmentHeader.size].compactMap { place -> UInt32? in
            let header = (try? file.read(SegmentHeader.size, at: place)).flatMap { SegmentHeader(decoding: $0) }
            guard let header, header.role == .data, (1...SegmentFile.last).contains(header.sequence) else { return nil }
            return header.sequence
        }
        return claims.contains(number) ? number : claims.first
    }

    private static func rename(_ number: UInt32, to other: UInt32, _ context: SpoolContext) -> Bool {
        do throws(DiskError) {
            try context.disk.rename(context.path(number), to: context.path(other))
            return true
        } catch {
            context.report(.failed, SegmentFile.name(number), "not renamed: \(error)")
            return false
        }
    }
}

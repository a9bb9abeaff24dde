// CorpusTests.swift — the corpus of every fuzz target, and seeded mutations of it: what libFuzzer found stays found.

import Files
import FuzzTargets
import TestSupport
import Testing

struct CorpusTests {
    @Test(arguments: FuzzTarget.allCases)
    func holdsForTheCorpusAndItsMutations(target: FuzzTarget) throws {
        let corpus = try Corpus.inputs(of: target)
        #expect(corpus.count >= 3, "Tests/Fuzz/Corpus/\(target.rawValue) holds too little")
        for (name, bytes) in corpus {
            let flaw = target.flaw(bytes)
            #expect(flaw == nil, "\(name): \(flaw ?? "")")
        }
        var random = SeededRandom(seed: 10)
        for round in 0..<Effort.count(1000) {
            let bytes = Corpus.mutated(corpus.map(\.bytes), &random)
            guard let flaw = target.flaw(bytes) else { continue }
            Issue.record("round \(round): \(flaw): \(bytes)")
            return
        }
    }
}

/// Inputs that are kept.
enum Corpus {
    /// - Throws: when the directory cannot be read.
    static func inputs(of target: FuzzTarget) throws -> [(name: String, bytes: [UInt8])] {
        let (disk, directory) = (LinuxDisk(), "\(TestFiles.root)/Fuzz/Corpus/\(target.rawValue)")
        return try disk.list(directory).map(\.name).sorted().map { name in
            (name, try disk.contents(of: "\(directory)/\(name)", limit: 1 << 20))
        }
    }

    /// One input with a few changes of the kinds that parsers stumble over.
    static func mutated(_ corpus: [[UInt8]], _ random: inout SeededRandom) -> [UInt8] {
        var bytes = corpus.randomElement(using: &random) ?? []
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let at = bytes.isEmpty ? 0 : Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<7, using: &random) {
            case 0: bytes.insert(UInt8.random(in: 0...255, using: &random), at: at)
            case 1 where !bytes.isEmpty: bytes.remove(at: at)
            case 2 where !bytes.isEmpty: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 3 where !bytes.isEmpty: bytes.removeSubrange(at...)
            case 4: bytes.insert(contentsOf: odd.randomElement(using: &random) ?? [], at: at)
            case 5: bytes += corpus.randomElement(using: &random)?.prefix(64) ?? []
            default: bytes.insert(contentsOf: bytes.dropFirst(at).prefix(16), at: at)
            }
        }
        return bytes
    }

    private static let odd: [[UInt8]] = [
        [0], [13], [10], [13, 10], [13, 13, 10], [46], [34], [92], [0xC3], [0xCC, 0x81], [0xF0, 0x9F, 0x92, 0xA9],
        [0xFF, 0xFE], Array("18446744073709551616".utf8), Array("-9223372036854775808".utf8), Array("\u{2028}".utf8),
    ]
}

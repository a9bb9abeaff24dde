// IdempotencyKeysTests.swift — the file of answers: what makes no sense is set aside, and the rest is used.

import Files
import JSON
import Log
import Mail
import TestSupport
import Testing

@testable import Admin

@Suite struct IdempotencyKeysTests {
    private static let path = "/data/idempotency"
    private static let now = Timestamp(milliseconds: 1_800_000_000_000)
    private static let digest = String(repeating: "0a", count: 32)

    private static func line(
        key: String = digest,
        at: String = "1800000000000",
        status: String = "201",
        headers: String = "{}",
        body: String = "\"x\""
    ) -> String {
        "{\"key\":\"\(key)\",\"request\":\"\(digest)\",\"at\":\(at),"
            + "\"answer\":{\"status\":\(status),\"headers\":\(headers),\"body\":\(body)}}\n"
    }

    private static func load(_ text: String) -> MemoryDisk {
        let disk = MemoryDisk()
        disk.plant(path, .file, Array(text.utf8))
        _ = IdempotencyKeys(path: path, disk: disk, log: LogSink(level: .critical), now: now)
        return disk
    }

    @Test(arguments: [
        line(at: "9223372036854775807"), line(at: "-9223372036854775808"), line(at: "-1"), line(at: "1.5"),
        line(status: "-1"), line(status: "4294967296"), line(status: "\"201\""), line(key: "short"),
        line(headers: "{\"Location\":\"a\\r\\nb\"}"), line(headers: "{\"a:b\":\"c\"}"), line(headers: "[]"),
        line(body: "1"), "nonsense\n", "{}\n", "[1]\n",
    ])
    func whatMakesNoSenseIsSetAsideOnce(line: String) {
        let sound = Self.line(key: String(repeating: "1b", count: 32), headers: "{\"Location\":\"/v1/messages/x\"}")
        let disk = Self.load(line + sound)
        let kept = disk.paths.filter { $0.hasPrefix("\(Self.path).damaged") }.compactMap { disk.bytes($0) }
        #expect(kept == [Array(line.utf8)])
        // The file is clean from then on, and still holds what makes sense.
        let rest = disk.bytes(Self.path).map { String(decoding: $0, as: UTF8.self) } ?? ""
        #expect(rest.utf8.count { $0 == 0x0A } == 1 && rest.contains("1b1b"))
    }

    @Test func aLineThatWasCutOffIsNoDamage() {
        let disk = Self.load(Self.line() + "{\"key\":\"0")
        #expect(disk.paths.filter { $0.contains("damaged") } == [])
    }

    @Test func seededMutationsTrapNowhere() {
        var random = SeededRandom(seed: 71)
        for _ in 0..<Effort.count(500) {
            var bytes = Array((Self.line() + Self.line(key: String(repeating: "2c", count: 32))).utf8)
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                bytes[place] = "0123456789-\"{}[],:eE.\n".utf8.randomElement(using: &random) ?? 0
            }
            let disk = MemoryDisk()
            disk.plant(Self.path, .file, bytes)
            _ = IdempotencyKeys(path: Self.path, disk: disk, log: LogSink(level: .critical), now: Self.now)
        }
    }
}

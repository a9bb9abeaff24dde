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

    // MARK: - Bounds

    /// Asks under a key; the body of the answer is `size` bytes.
    private static func ask(
        _ keys: IdempotencyKeys,
        _ key: String,
        size: Int,
        running: () -> Void = {}
    ) -> AdminResponse? {
        try? keys.once(key, AdminRequest(.post, "/v1/messages")) { (_, _) throws(Problem) in
            running()
            return .bytes(Array(repeating: UInt8(ascii: "a"), count: size), "text/plain", status: 201)
        }
    }

    private static func wasReplayed(_ response: AdminResponse?) -> Bool {
        response?.headers.contains { $0.name == "Idempotency-Replayed" } ?? false
    }

    @Test func theOldestAnswersGoWhenTheBytesAreTooMany() {
        let disk = MemoryDisk()
        disk.plant("/data", .directory, [])
        let keys = IdempotencyKeys(path: Self.path, disk: disk, log: LogSink(level: .critical), now: .now())
        let fits = IdempotencyKeys.mostBytes / (KeptAnswer.largest + 1024)
        for number in 0..<fits + 20 {
            _ = Self.ask(keys, "key\(number)", size: KeptAnswer.largest)
            #expect(keys.bytes <= IdempotencyKeys.mostBytes)
        }
        #expect(Self.wasReplayed(Self.ask(keys, "key\(fits + 19)", size: 1)))
        #expect(!Self.wasReplayed(Self.ask(keys, "key0", size: 1)))
        // A start reads no more into memory than that, whatever the file holds.
        let again = IdempotencyKeys(path: Self.path, disk: disk, log: LogSink(level: .critical), now: .now())
        #expect(again.bytes <= IdempotencyKeys.mostBytes && again.bytes > IdempotencyKeys.mostBytes / 2)
        #expect(Self.wasReplayed(Self.ask(again, "key\(fits + 19)", size: 1)))
    }

    @Test func aRequestUnderWayIsNotForgottenHoweverMuchFollows() {
        let keys = IdempotencyKeys(
            path: Self.path,
            disk: MemoryDisk(),
            log: LogSink(level: .critical),
            now: .now()
        )
        let first = Self.ask(keys, "slow", size: 10) {
            for number in 0..<IdempotencyKeys.mostBytes / KeptAnswer.largest + 10 {
                _ = Self.ask(keys, "key\(number)", size: KeptAnswer.largest)
            }
            #expect(throws: Problem.self) {
                try keys.once("slow", AdminRequest(.post, "/v1/messages")) { (_, _) throws(Problem) in .json(1) }
            }
        }
        #expect(!Self.wasReplayed(first) && keys.bytes <= IdempotencyKeys.mostBytes)
    }

    @Test func anAnswerThatIsTooLargeIsNotKept() {
        let keys = IdempotencyKeys(path: Self.path, disk: MemoryDisk(), log: LogSink(level: .critical), now: .now())
        _ = Self.ask(keys, "large", size: KeptAnswer.largest + 1)
        #expect(keys.bytes == 0 && !Self.wasReplayed(Self.ask(keys, "large", size: 1)))
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

// SpoolBenchTests.swift — figures on a real disk; run with TEST_BENCH=1 and a release build.

import Files
import Glibc
import Mail
import NIOCore
import Synchronization
import Testing

@testable import Storage

@Suite(.enabled(if: getenv("TEST_BENCH") != nil), .serialized) struct SpoolBenchTests {
    private final class Gate: Sendable {
        let state = Mutex((waiting: [UInt64](), locations: [QueueID: Location](), batches: 0))
        let bell = Doorbell()
    }

    private static func scratch() -> String {
        var template = Array("/tmp/martlet-bench-XXXXXX".utf8CString)
        return template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) } ?? "/nonexistent"
        }
    }

    private static func remove(_ path: String) {
        let disk = LinuxDisk()
        for sub in ["queue/large", "queue/corrupt", "queue"] {
            for entry in (try? disk.list("\(path)/\(sub)")) ?? [] { unlink("\(path)/\(sub)/\(entry.name)") }
            rmdir("\(path)/\(sub)")
        }
        rmdir(path)
    }

    private static func cpu() -> Double {
        var usage = rusage()
        getrusage(RUSAGE_SELF.rawValue, &usage)
        let (user, system) = (usage.ru_utime, usage.ru_stime)
        return Double(user.tv_sec + system.tv_sec) + Double(user.tv_usec + system.tv_usec) / 1e6
    }

    private static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private static func open(
        _ path: String,
        _ gate: Gate,
        _ visit: (RecoveredMessage) -> Void = { _ in }
    ) throws -> Spool {
        let spool = Spool(directory: "\(path)/queue") { print("problem: \($0)") }
        try spool.recover(visit)
        try spool.start { results in
            gate.state.withLock { state in
                state.batches += 1
                for entry in results {
                    if case .success(let place) = entry.result { state.locations[entry.id] = place }
                }
            }
            for _ in results { gate.bell.ring() }
        }
        return spool
    }

    private static func message(_ number: UInt64, size: Int, _ body: ByteBuffer) -> NewMessage {
        NewMessage(
            id: QueueID(rawValue: number),
            acceptedAt: Timestamp(milliseconds: 1),
            envelope: Envelope(
                sender: .address(EmailAddress(local: "someone", domain: Domain(unchecked: "sender.example.org"))),
                recipients: [Recipient(EmailAddress(local: "recipient", domain: Domain(unchecked: "next.example.com")))]
            ),
            content: Content(
                prologue: ByteBuffer(repeating: 0x61, count: 180),
                body: .memory(body),
                hasLeadingDots: false,
                isEightBit: false
            )
        )
    }

    @Test(arguments: [(1, 1024), (10, 1024), (100, 1024), (1, 10_240), (10, 10_240), (100, 10_240), (10, 102_400)])
    func append(atOnce: Int, size: Int) throws {
        let path = Self.scratch()
        defer { Self.remove(path) }
        let gate = Gate()
        let spool = try Self.open(path, gate)
        let body = ByteBuffer(repeating: 0x62, count: size)
        let total = max(2_000, min(60_000, atOnce * 3_000)) * 1024 / max(1024, size / 4)
        let (start, cpu) = (Self.now(), Self.cpu())
        for number in 0..<total {
            if number >= atOnce { gate.bell.wait() }
            spool.append(Self.message(UInt64(number + 1), size: size, body))
            // What was accepted long ago is delivered by now.
            if number > 2 * atOnce {
                let id = QueueID(rawValue: UInt64(number - 2 * atOnce))
                if let place = gate.state.withLock({ $0.locations.removeValue(forKey: id) }) {
                    spool.appendSettled(id, at: place)
                }
            }
        }
        for _ in 0..<min(atOnce, total) { gate.bell.wait() }
        let (seconds, work) = (Self.now() - start, Self.cpu() - cpu)
        let batches = gate.state.withLock { $0.batches }
        spool.close()
        print(
            "append size=\(size) at_once=\(atOnce) messages=\(total) per_second=\(Int(Double(total) / seconds))",
            "cpu_us=\(Int(work / Double(total) * 1e7))e-1 syncs_per_message=\(batches * 100 / total)e-2"
        )
    }

    @Test(arguments: [100_000, 1_000_000])
    func recover(count: Int) throws {
        let path = Self.scratch()
        defer { Self.remove(path) }
        let gate = Gate()
        var spool = try Self.open(path, gate)
        let body = ByteBuffer(repeating: 0x62, count: 1800)
        for number in 1...count {
            spool.append(Self.message(UInt64(number), size: 1800, body))
            if number > 1000 { gate.bell.wait() }
        }
        for _ in 0..<1000 { gate.bell.wait() }
        spool.close()
        let start = Self.now()
        var found = 0
        spool = try Self.open(path, gate) { _ in found += 1 }
        let seconds = Self.now() - start
        #expect(found == count)
        print("recover messages=\(count) milliseconds=\(Int(seconds * 1000))")
        spool.close()
    }

    @Test func firstStart() throws {
        let path = Self.scratch()
        defer { Self.remove(path) }
        let start = Self.now()
        let spool = try Self.open(path, Gate())
        print("first start milliseconds=\(Int((Self.now() - start) * 1000))")
        spool.close()
    }

    @Test func checksum() {
        let bytes = [UInt8](repeating: 0x5A, count: 1 << 20)
        let start = Self.now()
        var value: UInt32 = 0
        for _ in 0..<2000 { bytes.withUnsafeBytes { value &+= CRC32C.of($0) } }
        print("crc32c GB_per_second=\(2000.0 * 1.048576e-3 / (Self.now() - start)) \(value)")
    }
}

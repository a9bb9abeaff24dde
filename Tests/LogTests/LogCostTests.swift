// LogCostTests.swift — what a line costs: a printed figure, and a bound loose enough for a debug build.

import Glibc
import Log
import Testing

@Suite struct LogCostTests {
    @Test func aLineOfSixFieldsIsCheap() {
        let descriptor = open("/dev/null", O_WRONLY)
        let sink = LogSink(descriptor: descriptor)
        let count = 20_000
        let clock = ContinuousClock()
        let taken = clock.measure {
            for number in 0..<count {
                sink.write(.notice, "delivered") { line in
                    line.add(.id, "0d8c1zq4g0000")
                    line.add(.to, "somebody", UInt8(ascii: "@"), "destination.example")
                    line.add(.mx, "mx1.destination.example:25")
                    line.add(.ip, "192.0.2.17")
                    line.add(.reply, "250 2.0.0 Ok: queued as 4XyzAbcDef")
                    line.add(.delay, seconds: Int64(number))
                }
            }
        }
        sink.close()
        close(descriptor)
        let nanoseconds = Int(taken / count / .nanoseconds(1))
        print("log line, 6 fields: \(nanoseconds) ns")
        #expect(nanoseconds < 100_000)
    }
}

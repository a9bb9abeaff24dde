// InterfaceAddressesTests.swift — our own addresses are asked for once a second, not once for each connection.

import Mail
import Synchronization
import Testing

@testable import Departure

@Suite struct InterfaceAddressesTests {
    @Test func areAskedForOnceASecond() throws {
        let asked = Mutex(0)
        let first = try #require(IPAddress("192.0.2.1"))
        let second = try #require(IPAddress("192.0.2.2"))
        let known = InterfaceAddresses {
            asked.withLock { count in
                count += 1
                return [count == 1 ? first : second]
            }
        }
        for time in stride(from: 0 as Int64, to: 1000, by: 10) {
            #expect(known.addresses(at: Uptime(milliseconds: time)) == [first])
        }
        #expect(asked.withLock { $0 } == 1)
        #expect(known.addresses(at: Uptime(milliseconds: 1000)) == [second])
        #expect(asked.withLock { $0 } == 2)
    }
}

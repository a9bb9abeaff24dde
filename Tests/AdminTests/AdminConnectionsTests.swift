// AdminConnectionsTests.swift — shares of connections: one subscriber never keeps another out, whatever it sends.

import Mail
import Testing

@testable import Admin

@Suite struct AdminConnectionsTests {
    private static let now = Uptime(milliseconds: 10_000)

    /// Connects as often as it is let in.
    private static func connect(
        _ connections: AdminConnections,
        _ address: String?,
        _ times: Int = 1,
        at now: Uptime = now
    ) -> [UInt64] {
        (0..<times).compactMap { _ in
            // What was shut down is closed before the next one comes.
            for number in connections.ended { connections.closed(number) }
            let client = address.flatMap { IPAddress($0) }
            return connections.admits(client) ? connections.opened(-1, from: client, at: now) : nil
        }
    }

    private static func make() -> AdminConnections { AdminConnections(limit: 32, perClient: 16, timeout: 10) }

    @Test func oneSubscriberGetsItsShareAndAFewToHearOfIt() {
        let connections = Self.make()
        let numbers = Self.connect(connections, "192.0.2.1", 48)
        #expect(numbers.count == 18)
        #expect(numbers.map { connections.place(of: $0) }.filter { $0 == .seat }.count == 16)
        for number in Self.connect(connections, "192.0.2.2", 4) { #expect(connections.place(of: number) == .seat) }
    }

    @Test func aNetworkOfIPv6IsOneSubscriber() {
        let connections = Self.make()
        let numbers = (0..<48).flatMap { Self.connect(connections, "2001:db8:0:1::\(String($0, radix: 16))") }
        #expect(numbers.count == 18)
        #expect(Self.connect(connections, "2001:db8:0:2::1").map { connections.place(of: $0) } == [.seat])
        #expect(Self.connect(connections, "::ffff:192.0.2.1").map { connections.place(of: $0) } == [.seat])
    }

    @Test func whoHoldsMuchWithoutARequestMakesRoom() {
        let connections = Self.make()
        for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"] {
            _ = Self.connect(connections, address, 48)
        }
        // Every newcomer has a seat, as long as somebody has two more than it.
        for address in ["198.51.100.1", "198.51.100.2", "198.51.100.3"] {
            let numbers = Self.connect(connections, address, 2)
            #expect(numbers.map { connections.place(of: $0) } == [.seat, .seat])
        }
    }

    /// Fifty browsers with a connection each, which they keep: all are answered, and so is everybody who comes.
    @Test func moreMayKeepAConnectionThanThereAreSeats() {
        let connections = Self.make()
        for second in 0..<5 {
            for browser in 0..<50 {
                let now = Self.now.adding(milliseconds: Int64(second * 2000 + browser * 40))
                for number in Self.connect(connections, "192.0.2.\(browser)", at: now) {
                    #expect(connections.place(of: number) == .seat, "browser \(browser) in second \(second)")
                    connections.enters(.working, number, at: now)
                    connections.enters(.writing, number, at: now)
                    connections.enters(.waiting, number, at: now)
                }
            }
            let now = Self.now.adding(milliseconds: Int64(second * 2000 + 1999))
            #expect(
                Self.connect(connections, "198.51.100.\(second)", at: now).map { connections.place(of: $0) } == [.seat]
            )
        }
    }

    /// A head that is on its way is no rest: from one each, strangers do not push each other out.
    @Test func whoWasNeverAnsweredKeepsItsSeatFromANewcomer() {
        let connections = Self.make()
        for address in 0..<28 { _ = Self.connect(connections, "192.0.2.\(address)") }
        let late = Self.connect(connections, "198.51.100.1")
        #expect(late.map { connections.place(of: $0) } == [.standing])
    }

    @Test func requestsUnderWayAreNotCutOff() {
        let connections = Self.make()
        for address in ["192.0.2.1", "192.0.2.2"] {
            for number in Self.connect(connections, address, 16) where connections.place(of: number) == .seat {
                connections.enters(.working, number, at: Self.now)
            }
        }
        // Nothing is left but a place to stand: a probe is answered there, and others hear why not.
        let late = Self.connect(connections, "198.51.100.1")
        #expect(late.map { connections.place(of: $0) } == [.standing])
        // This machine has seats of its own.
        #expect(Self.connect(connections, "127.0.0.1").map { connections.place(of: $0) } == [.seat])
    }

    @Test func whoStandsSitsDownWhenASeatIsFree() {
        let connections = AdminConnections(limit: 2, perClient: 1, timeout: 10)
        let first = Self.connect(connections, "192.0.2.1", 2)
        #expect(first.map { connections.place(of: $0) } == [.seat, .standing])
        connections.closed(first[0])
        #expect(connections.place(of: first[1]) == .seat)
    }

    @Test func deadlinesEndTheSlow() {
        let connections = Self.make()
        let number = Self.connect(connections, "192.0.2.1", 17)
        connections.sweep(at: Uptime(milliseconds: 12_500))
        // The one beyond the share has waited two seconds; the others have ten.
        #expect(connections.place(of: number[0]) == .seat)
        #expect(Self.connect(connections, "192.0.2.1", 9, at: Uptime(milliseconds: 12_500)).count == 2)
        connections.sweep(at: Uptime(milliseconds: 20_001))
        #expect(Self.connect(connections, "192.0.2.1", 1, at: Uptime(milliseconds: 20_001)).count == 1)
    }

    @Test func aRelayThatStopsAnswersNobody() {
        let connections = Self.make()
        let numbers = Self.connect(connections, "192.0.2.1")
        connections.close()
        #expect(numbers.map { connections.place(of: $0) } == [.none])
    }

    @Test func theUnixSocketHasNoSubscribers() {
        let connections = Self.make()
        #expect(Self.connect(connections, nil, 40).map { connections.place(of: $0) }.filter { $0 == .seat }.count == 32)
    }
}

// UnboundResolverTests.swift — libunbound against a server on loopback that is right, broken, silent or lying.

import Mail
import TestSupport
import Testing

@testable import DNS

@Suite struct UnboundResolverTests {
    private let server: DNSServer

    init() throws { server = try DNSServer() }

    private func resolver(timeout: Duration = .seconds(12)) throws -> UnboundResolver {
        var options = UnboundResolver.Options()
        options.forwarders = [server.forwarder]
        options.timeout = timeout
        return try UnboundResolver(options)
    }

    private func name(_ text: String) -> Domain { Domain(unchecked: text) }

    @Test func findsMX() async throws {
        server.set("MX example.com", .mx(10, "a.example"), .mx(5, "B.Example"))
        let answer = try await resolver().mailExchangers(of: name("example.com"))
        #expect(
            Set(answer.value) == [
                MXRecord(preference: 10, host: name("a.example")), MXRecord(preference: 5, host: name("b.example")),
            ]
        )
        #expect(answer.timeToLive == .seconds(300))
        #expect(!answer.isSecure)
        server.stop()
    }

    @Test func findsAddressesOfBothFamilies() async throws {
        server.set("A a.example", .a("192.0.2.1"), .a("192.0.2.2"))
        server.set("AAAA a.example", .aaaa("2001:db8::1"))
        let answer = try await resolver().addresses(of: name("a.example"))
        #expect(Set(answer.value.map(\.description)) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"])
        #expect(answer.value.last?.isV6 == true)
        server.stop()
    }

    @Test func oneFamilyIsEnough() async throws {
        server.set("A a.example", .a("192.0.2.1"))
        server.set("AAAA a.example", .records([]))
        #expect(try await resolver().addresses(of: name("a.example")).value.map(\.description) == ["192.0.2.1"])
        server.set("A b.example", .a("192.0.2.1"))
        server.set("AAAA b.example", .code(2))
        #expect(try await resolver().addresses(of: name("b.example")).value.map(\.description) == ["192.0.2.1"])
        server.stop()
    }

    /// No IPv4, and no word about IPv6: not to be taken for a host without addresses.
    @Test func halfAnAnswerIsTrouble() async throws {
        server.set("A a.example", .records([]))
        server.set("AAAA a.example", .code(2))
        await #expect(throws: DNSError.serverFailure("SERVFAIL")) {
            try await resolver().addresses(of: name("a.example"))
        }
        server.stop()
    }

    @Test func followsCNAMEs() async throws {
        server.set("example.com", .cname("one.example"))
        server.set("one.example", .cname("two.example"))
        server.set("MX two.example", .mx(10, "mx.example"))
        server.set("A two.example", .a("192.0.2.1"))
        server.set("AAAA two.example", .records([]))
        let resolver = try resolver()
        #expect(try await resolver.mailExchangers(of: name("example.com")).value.map(\.preference) == [10])
        #expect(try await resolver.addresses(of: name("example.com")).value.count == 1)
        server.stop()
    }

    @Test func aCNAMELoopIsTrouble() async throws {
        server.set("a.example", .cname("b.example"))
        server.set("b.example", .cname("a.example"))
        await #expect(throws: DNSError.serverFailure("SERVFAIL")) {
            try await resolver().mailExchangers(of: name("a.example"))
        }
        server.stop()
    }

    @Test func aNullMXIsTheRoot() async throws {
        server.set("MX example.com", .mx(0, "."))
        let resolver = try resolver()
        #expect(
            try await resolver.mailExchangers(of: name("example.com")).value == [MXRecord(preference: 0, host: nil)]
        )
        var generator = SeededRandom(seed: 1)
        #expect(try await MXLookup(resolver).hosts(of: name("example.com"), using: &generator).value == .refusesMail)
        server.stop()
    }

    @Test func nothingOfTheTypeIsEmpty() async throws {
        server.set("example.com", .records([]))
        let resolver = try resolver()
        #expect(try await resolver.mailExchangers(of: name("example.com")).value == [])
        #expect(try await resolver.addresses(of: name("example.com")).value == [])
        server.stop()
    }

    @Test(arguments: ["missing.example", "missing.test", "missing.home.arpa"])
    func aMissingNameIsPermanent(missing: String) async throws {
        let resolver = try resolver()
        await #expect(throws: DNSError.noSuchName) { try await resolver.mailExchangers(of: name(missing)) }
        await #expect(throws: DNSError.noSuchName) { try await resolver.addresses(of: name(missing)) }
        // The server said so, not libunbound by itself.
        #expect(server.questions.contains("MX \(missing)"))
        server.stop()
    }

    @Test(arguments: [(UInt8(2), "SERVFAIL"), (5, "SERVFAIL"), (4, "SERVFAIL")])
    func aFailingServerIsTrouble(code: UInt8, text: String) async throws {
        server.set("example.com", .code(code))
        await #expect(throws: DNSError.serverFailure(text)) {
            try await resolver().mailExchangers(of: name("example.com"))
        }
        server.stop()
    }

    @Test func aSilentServerIsGivenUpInTime() async throws {
        server.set("example.com", .silence)
        // On a machine that is busy the library may give up before our own limit is looked at; either way it is an error.
        let clock = ContinuousClock()
        let resolver = try resolver(timeout: .milliseconds(700))
        let spent = await clock.measure {
            await #expect(throws: DNSError.self) { try await resolver.mailExchangers(of: name("example.com")) }
        }
        #expect(spent >= .milliseconds(700))
        server.stop()
    }

    @Test func aSilentServerHoldsUpNoOtherQuestion() async throws {
        server.set("silent.example", .silence)
        server.set("MX other.example", .mx(1, "mx.example"))
        let resolver = try resolver()
        let silence = Task { try? await resolver.mailExchangers(of: name("silent.example")) }
        #expect(try await resolver.mailExchangers(of: name("other.example")).value.count == 1)
        silence.cancel()
        server.stop()
    }

    @Test func aForgedAnswerIsNotTaken() async throws {
        server.set("MX example.com", .forged([.mx(1, "evil.example")]))
        let resolver = try resolver(timeout: .milliseconds(700))
        await #expect(throws: DNSError.timedOut) { try await resolver.mailExchangers(of: name("example.com")) }
        server.stop()
    }

    @Test func garbageIsNoAnswer() async throws {
        server.set("example.com", .garbage)
        let resolver = try resolver(timeout: .seconds(2))
        await #expect(throws: DNSError.self) { try await resolver.mailExchangers(of: name("example.com")) }
        server.stop()
    }

    @Test func twoHundredMXAreReadAndAHundredUsed() async throws {
        server.set("MX example.com", .records((0..<200).map { .mx(UInt16($0), "mx\($0).example") }))
        let resolver = try resolver()
        #expect(try await resolver.mailExchangers(of: name("example.com")).value.count == 200)
        var generator = SeededRandom(seed: 1)
        let hosts = try await MXLookup(resolver).hosts(of: name("example.com"), using: &generator).value
        guard case .hosts(let list) = hosts else {
            Issue.record("no hosts")
            return
        }
        #expect(list.count == MXLookup.most)
        #expect(list.first?.exchange == "mx0.example")
        server.stop()
    }

    @Test func hostileNamesAreDropped() async throws {
        let evil: [UInt8] = [0, 1] + [6] + Array("a\r\nb c".utf8) + DNSServer.wire("example")
        server.set("MX example.com", .raw(type: 15, evil), .mx(10, "good.example"))
        server.set("MX example.net", .raw(type: 15, evil))
        let resolver = try resolver()
        #expect(
            try await resolver.mailExchangers(of: name("example.com")).value == [
                MXRecord(preference: 10, host: name("good.example"))
            ]
        )
        await #expect(throws: DNSError.serverFailure("the MX records of example.net name no host")) {
            try await resolver.mailExchangers(of: name("example.net"))
        }
        server.stop()
    }

    @Test func manyQuestionsAtOnce() async throws {
        for number in 0..<600 { server.set("MX d\(number).example", .mx(UInt16(number), "mx.example")) }
        let resolver = try resolver()
        let right = await withTaskGroup(of: Bool.self) { group in
            for number in 0..<600 {
                group.addTask {
                    let answer = try? await resolver.mailExchangers(of: Domain(unchecked: "d\(number).example"))
                    return answer?.value == [
                        MXRecord(preference: UInt16(number), host: Domain(unchecked: "mx.example"))
                    ]
                }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(right == 600)
        server.stop()
    }

    @Test func tooManyQuestionsFailAtOnce() async throws {
        server.set("example.com", .silence)
        var options = UnboundResolver.Options()
        options.forwarders = [server.forwarder]
        options.timeout = .seconds(1)
        options.inFlight = 2
        options.waiting = 3
        let resolver = try UnboundResolver(options)
        let errors = await withTaskGroup(of: DNSError?.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    do throws(DNSError) {
                        _ = try await resolver.mailExchangers(of: Domain(unchecked: "example.com"))
                        return nil
                    } catch {
                        return error
                    }
                }
            }
            return await group.reduce(into: [DNSError?]()) { $0.append($1) }
        }
        #expect(errors.count { $0 == .timedOut } == 5)
        #expect(errors.count { $0 == .serverFailure("too many lookups at once") } == 15)
        server.stop()
    }

    @Test func aCancelledQuestionEndsAtOnce() async throws {
        server.set("example.com", .silence)
        let resolver = try resolver(timeout: .seconds(600))
        let task = Task { try await resolver.mailExchangers(of: Domain(unchecked: "example.com")) }
        task.cancel()
        await #expect(throws: DNSError.serverFailure("cancelled")) { try await task.value }
        server.stop()
    }

    @Test func openQuestionsEndWithTheResolver() async throws {
        server.set("example.com", .silence)
        let pump = try {
            var options = UnboundResolver.Options()
            options.forwarders = [server.forwarder]
            options.timeout = .seconds(600)
            return try UnboundPump.start(options)
        }()
        async let result = pump.ask("example.com", .mx)
        pump.close()
        let answer = await result
        #expect(throws: DNSError.serverFailure("the resolver has stopped")) { try answer.get() }
        server.stop()
    }

    @Test func wrongOptionsAreRefused() {
        var options = UnboundResolver.Options()
        options.forwarders = ["not an address"]
        #expect(throws: DNSError.self) { try UnboundResolver(options) }
    }

    @Test func aNameThatIsNoneIsNotAsked() async throws {
        let resolver = try resolver()
        await #expect(throws: DNSError.self) { try await resolver.mailExchangers(of: name("bücher.example")) }
        await #expect(throws: DNSError.self) { try await resolver.mailExchangers(of: name("[192.0.2.1]")) }
        #expect(server.questions == [])
        server.stop()
    }
}

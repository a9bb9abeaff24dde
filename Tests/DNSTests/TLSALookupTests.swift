// TLSALookupTests.swift — which TLSA records hold for a host, and when nobody can tell (RFC 7672 §2).

import Mail
import TestSupport
import Testing

@testable import DNS

struct TLSALookupTests {
    private static let record = TLSARecord(usage: 3, selector: 1, matching: 1, data: Array(repeating: 7, count: 32))
    private let resolver = StaticResolver()

    private func find(_ host: String = "mx.example") async throws -> TLSALookup.Finding {
        let host = Domain(unchecked: host)
        let addresses = try await resolver.addresses(of: host)
        return await TLSALookup(resolver).records(of: host, port: 25, addresses: addresses)
    }

    @Test func findsSecureRecords() async throws {
        resolver.setAddresses("mx.example", ["192.0.2.1"])
        resolver.setTLSA("_25._tcp.mx.example", [Self.record])
        resolver.setSecure("mx.example", "_25._tcp.mx.example")
        #expect(try await find() == .records([Self.record], base: Domain(unchecked: "mx.example")))
    }

    @Test func asksNothingWhereAddressesAreInsecure() async throws {
        resolver.setAddresses("mx.example", ["192.0.2.1"])
        resolver.setTLSA("_25._tcp.mx.example", [Self.record])
        resolver.setSecure("_25._tcp.mx.example")
        #expect(try await find() == .absent)
        #expect(!resolver.questions.contains { $0.hasPrefix("TLSA") })
    }

    @Test func ignoresRecordsThatNobodyVouchesFor() async throws {
        resolver.setAddresses("mx.example", ["192.0.2.1"])
        resolver.setTLSA("_25._tcp.mx.example", [Self.record])
        resolver.setSecure("mx.example")
        #expect(try await find() == .absent)
    }

    @Test(arguments: [DNSError.bogus("expired"), .timedOut, .serverFailure("SERVFAIL")])
    func aFailedLookupIsNoAbsence(_ error: DNSError) async throws {
        resolver.setAddresses("mx.example", ["192.0.2.1"])
        resolver.setSecure("mx.example")
        resolver.fail("_25._tcp.mx.example", error)
        #expect(try await find() == .failed(error))
    }

    @Test func aNameThatDoesNotExistIsAbsence() async throws {
        resolver.setAddresses("mx.example", ["192.0.2.1"])
        resolver.setSecure("mx.example")
        #expect(try await find() == .absent)
    }

    @Test func theTargetOfAnAliasComesFirst() async throws {
        resolver.setAlias("mx.example", of: "real.example")
        resolver.setAddresses("real.example", ["192.0.2.1"])
        resolver.setTLSA("_25._tcp.real.example", [Self.record])
        resolver.setTLSA("_25._tcp.mx.example", [])
        resolver.setSecure("mx.example", "real.example", "_25._tcp.real.example", "_25._tcp.mx.example")
        #expect(try await find() == .records([Self.record], base: Domain(unchecked: "real.example")))
    }

    @Test func theAliasItselfComesSecond() async throws {
        resolver.setAlias("mx.example", of: "real.example")
        resolver.setAddresses("real.example", ["192.0.2.1"])
        resolver.setTLSA("_25._tcp.mx.example", [Self.record])
        resolver.setSecure("mx.example", "real.example", "_25._tcp.mx.example")
        #expect(try await find() == .records([Self.record], base: Domain(unchecked: "mx.example")))
    }

    @Test func aSecureAliasOfAnInsecureTargetHasASay() async throws {
        resolver.setAlias("mx.example", of: "real.test")
        resolver.setAddresses("real.test", ["192.0.2.1"])
        resolver.setTLSA("_25._tcp.mx.example", [Self.record])
        resolver.setSecure("mx.example", "_25._tcp.mx.example")
        #expect(try await find() == .records([Self.record], base: Domain(unchecked: "mx.example")))
    }

    @Test func parsesRecords() {
        #expect(RecordParsing.tlsa([3, 1, 1, 9, 8]) == TLSARecord(usage: 3, selector: 1, matching: 1, data: [9, 8]))
        #expect(RecordParsing.tlsa([3, 1, 1]) == .unreadable)
        #expect(RecordParsing.tlsa([UInt8]()) == .unreadable)
        #expect(RecordParsing.txt([2, 0x61, 0x62, 1, 0x63]) == "abc")
        #expect(RecordParsing.txt([3, 0x61]) == nil)
        #expect(RecordParsing.txt([UInt8]()) == "")
    }
}

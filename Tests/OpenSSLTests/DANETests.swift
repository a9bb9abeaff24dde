// DANETests.swift — TLSA records against certificates (RFC 6698, 7671, 7672).

import FoundationEssentials
import NIOCore
import OpenSSL
import Testing

struct DANETests {
    private let name = "mx.example.net"
    private let pair: CertificatePair
    private let authority: CertificatePair

    init() throws {
        pair = try Certificates.signed("mx.example.net")
        authority = try Certificates.authority.get()
    }

    @Test(arguments: [UInt8(0), 1], [UInt8(0), 1])
    func matchesTheCertificateItself(_ selector: UInt8, _ matching: UInt8) throws {
        let record = try tlsa(3, selector, matching, of: pair)
        #expect(record.isUsable)
        #expect(try fate([record]) == .success(.dane(usage: 3, selector: selector, matching: matching)))
    }

    @Test(arguments: [UInt8(0), 1], [UInt8(0), 1])
    func matchesTheAuthority(_ selector: UInt8, _ matching: UInt8) throws {
        let record = try tlsa(2, selector, matching, of: authority)
        #expect(record.isUsable)
        #expect(try fate([record]) == .success(.dane(usage: 2, selector: selector, matching: matching)))
    }

    /// The records of ``fixed`` as `sha512sum` and the OpenSSL command make them.
    @Test(arguments: [UInt8(0), 1])
    func matchesSHA512(_ selector: UInt8) throws {
        let digits = selector == 0 ? Self.fixedCertificate512 : Self.fixedKey512
        let data = stride(from: 0, to: digits.utf8.count, by: 2).compactMap { offset in
            UInt8(digits.dropFirst(offset).prefix(2), radix: 16)
        }
        let record = PeerCheck.TLSA(usage: 3, selector: selector, matching: 2, data: data)
        #expect(try fate([record], of: Self.fixed) == .success(.dane(usage: 3, selector: selector, matching: 2)))
        #expect(try fate([record]).failure?.kind == .verification)
    }

    @Test func aRecordThatMatchesIsEnough() throws {
        let wrong = try tlsa(3, 1, 1, of: authority)
        #expect(try fate([wrong, tlsa(3, 1, 1, of: pair)]) == .success(.dane(usage: 3, selector: 1, matching: 1)))
    }

    @Test func refusesWhatNoRecordMatches() throws {
        let error = try fate([tlsa(3, 1, 1, of: authority), tlsa(2, 0, 1, of: Self.fixed)]).failure
        #expect(error?.kind == .verification)
        #expect(error?.reason.contains("TLSA") == true)
    }

    @Test func usage3NeedsNeitherNameNorDate() throws {
        let old = try Certificates.make(["elsewhere.example"], startsAfterDays: -10, days: 5)
        #expect(try fate([tlsa(3, 1, 1, of: old)], of: old).failure == nil)
    }

    @Test func usage2NeedsNameAndDate() throws {
        let record = try tlsa(2, 1, 1, of: authority)
        let other = try Certificates.signed("elsewhere.example")
        #expect(try fate([record], of: other).failure?.reason.contains("another host name") == true)
        let old = try Certificates.signed("mx.example.net", days: 5, startsAfterDays: -10)
        #expect(try fate([record], of: old).failure?.reason.contains("expired") == true)
    }

    @Test func usage2TakesFurtherNames() throws {
        let other = try Certificates.signed("example.org")
        #expect(try fate([tlsa(2, 1, 1, of: authority)], of: other, names: ["example.org"]).failure == nil)
    }

    @Test func usages0And1AreUnusable() throws {
        let full = try tlsa(3, 1, 1, of: pair)
        for usage in [UInt8(0), 1, 4, 255] {
            let record = PeerCheck.TLSA(usage: usage, selector: 1, matching: 1, data: full.data)
            #expect(!record.isUsable)
            #expect(try fate([record]).failure != nil)
            #expect(try fate([record, full]).failure == nil)
        }
    }

    @Test(arguments: [
        PeerCheck.TLSA(usage: 3, selector: 2, matching: 1, data: [UInt8](repeating: 1, count: 32)),
        PeerCheck.TLSA(usage: 3, selector: 1, matching: 3, data: [UInt8](repeating: 1, count: 32)),
        PeerCheck.TLSA(usage: 3, selector: 1, matching: 1, data: [UInt8](repeating: 1, count: 31)),
        PeerCheck.TLSA(usage: 3, selector: 1, matching: 2, data: [UInt8](repeating: 1, count: 32)),
        PeerCheck.TLSA(usage: 3, selector: 0, matching: 0, data: [0x30, 0x82, 0xFF, 0xFF]),
        PeerCheck.TLSA(usage: 2, selector: 1, matching: 0, data: []),
    ])
    func malformedRecordsAreUnusable(_ record: PeerCheck.TLSA) throws {
        #expect(!record.isUsable)
        #expect(try fate([record]).failure != nil)
    }

    @Test func resumesUnderTheSameRecordsOnly() throws {
        let server = try TLSContext.server(pair)
        let client = try TLSContext.client()
        let check = PeerCheck.dane([try tlsa(3, 1, 1, of: pair)], base: name, names: [])
        try Duet(server, client, check: check, peer: "mx:25").meet()
        let second = try Duet(server, client, check: check, peer: "mx:25").meet()
        #expect(second.client.summary?.isResumed == true)
        #expect(second.client.summary?.verified == .dane(usage: 3, selector: 1, matching: 1))
        let rolled = PeerCheck.dane([try tlsa(3, 1, 1, of: authority)], base: name, names: [])
        #expect(throws: TLSError.self) { try Duet(server, client, check: rolled, peer: "mx:25").meet() }
    }

    // MARK: -

    /// Nothing but the records counts: this client believes no authority that has signed anything.
    private func fate(
        _ records: [PeerCheck.TLSA],
        of shown: CertificatePair? = nil,
        names: [String] = []
    ) throws -> Result<TLSSummary.Verified, TLSError> {
        let stranger = try Certificates.stranger.get().certificates
        let client = try TLSContext.client { $0.authorities = .pem(stranger) }
        do {
            let check = PeerCheck.dane(records, base: name, names: names)
            let duet = try Duet(.server(shown ?? pair), client, check: check).meet()
            return .success(duet.client.summary?.verified ?? .nothing)
        } catch let error as TLSError {
            return .failure(error)
        }
    }

    private func tlsa(
        _ usage: UInt8,
        _ selector: UInt8,
        _ matching: UInt8,
        of pair: CertificatePair
    ) throws -> PeerCheck.TLSA {
        let subject = try selector == 0 ? der(pair) : SigningKey(pem: pair.key).publicKeyDER
        let data = matching == 0 ? subject : Digest.sha256(subject)
        return PeerCheck.TLSA(usage: usage, selector: selector, matching: matching, data: data)
    }

    /// The first certificate, out of its PEM.
    private func der(_ pair: CertificatePair) throws -> [UInt8] {
        let lines = String(decoding: pair.certificates, as: UTF8.self).split(separator: "\n")
        let body = lines.dropFirst().prefix { !$0.hasPrefix("-----") }.joined()
        return try Array(#require(Data(base64Encoded: body)))
    }

    private static let fixedCertificate512 =
        "bce912c405be20f5b3635cf1cf3eee8a761563b7fc95cdac905de8ee1361e122"
        + "140342f1acebbc18087c930cd72af199fb48d756f03649287375851ea289d8de"
    private static let fixedKey512 =
        "9de326543e4ea578edabb710b786d35e9ec2a5edb616176120756911694cf9b9"
        + "d157f5df2783c4e48cd564b3113580d603a7008bf7157404c77ac2111798094d"

    /// Of this file alone: its key protects nothing.
    private static let fixed = CertificatePair(
        certificates: Array(
            """
            -----BEGIN CERTIFICATE-----
            MIIBpDCCAUqgAwIBAgIUSJuGwTs53mJDuhbK4EjCx6X/N9MwCgYIKoZIzj0EAwIw
            GTEXMBUGA1UEAwwObXguZXhhbXBsZS5uZXQwIBcNMjYxMTIyMjEzNzI3WhgPMjEy
            NjEwMjkyMTM3MjdaMBkxFzAVBgNVBAMMDm14LmV4YW1wbGUubmV0MFkwEwYHKoZI
            zj0CAQYIKoZIzj0DAQcDQgAEsYyzMuuJXmZ38JgMrxhdDZeIb8j30kBPdZkMiDB0
            WCuliT/YbmotG0vOq6hU6bEGzBETFDTh/RRjs7Elv43Y16NuMGwwHQYDVR0OBBYE
            FJDPIsXmz/csQIYmGpet4brN740mMB8GA1UdIwQYMBaAFJDPIsXmz/csQIYmGpet
            4brN740mMA8GA1UdEwEB/wQFMAMBAf8wGQYDVR0RBBIwEIIObXguZXhhbXBsZS5u
            ZXQwCgYIKoZIzj0EAwIDSAAwRQIgAKLG0qsMhy5o/GLm4Mxkcvmz+IR3A85jj0qV
            xl4TkaUCIQDtJq7tHMWeoG9wbe4JH1mWBOEdagpL7lfbrJqqD2hdgw==
            -----END CERTIFICATE-----
            """
            .utf8
        ),
        key: Array(
            """
            -----BEGIN PRIVATE KEY-----
            MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgSE7CqdFzzOg6KbfR
            u8wBg63PTkZZqdG55BGDvsAn80ihRANCAASxjLMy64leZnfwmAyvGF0Nl4hvyPfS
            QE91mQyIMHRYK6WJP9huai0bS86rqFTpsQbMERMUNOH9FGOzsSW/jdjX
            -----END PRIVATE KEY-----
            """
            .utf8
        )
    )
}

extension Result {
    fileprivate var failure: Failure? { if case .failure(let error) = self { error } else { nil } }
}

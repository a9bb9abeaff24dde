// TLSEngineTests.swift — handshakes in memory: versions, pieces, names, SNI, resumption, garbage, client certificates.

import NIOCore
import OpenSSL
import TestSupport
import Testing

struct TLSEngineTests {
    private let pair: CertificatePair

    init() throws { pair = try Certificates.signed("mx.example.net") }

    @Test(arguments: TLSContext.Version.allCases, [Int.max, 1, 7])
    func carriesOctetsBothWays(_ version: TLSContext.Version, _ piece: Int) throws {
        let duet = try Duet(.server(pair, only: version), .client(), name: "mx.example.net", piece: piece).meet()
        #expect(duet.client.summary?.version == version.rawValue)
        #expect(try duet.tell("EHLO client\r\n") == "EHLO client\r\n")
        #expect(try duet.answer("250 ok\r\n") == "250 ok\r\n")
        let long = String(repeating: "0123456789abcdef", count: 5000)
        #expect(try duet.tell(long) == long)
        #expect(duet.server.summary?.serverName == "mx.example.net")
        #expect(duet.server.summary?.cipher == duet.client.summary?.cipher)
        #expect((duet.client.summary?.bits ?? 0) >= 128)
        #expect(duet.client.summary?.verified == .nothing)
        #expect(duet.client.summary?.peerFingerprintText?.utf8.count == 64)
    }

    @Test func saysCloseNotify() throws {
        let duet = try Duet(.server(pair), .client()).meet()
        duet.client.close()
        try duet.pump()
        #expect(duet.server.progress == .closed)
        // One side's end is not the other's.
        #expect(try duet.answer("221 bye\r\n") == "221 bye\r\n")
    }

    // MARK: Names

    @Test func verifiesTheName() throws {
        let duet = try Duet(.server(pair), .client(), check: .names(["other.example", "mx.example.net"])).meet()
        #expect(duet.client.summary?.verified == .name("mx.example.net"))
    }

    @Test func verifiesAnAddress() throws {
        let pair = try Certificates.signed("mx.example.net", "192.0.2.7")
        let duet = try Duet(.server(pair), .client(), check: .names(["192.0.2.7"])).meet()
        #expect(duet.client.summary?.verified == .name("192.0.2.7"))
        #expect(duet.server.summary?.serverName == nil)
    }

    @Test func refusesAnotherName() throws {
        let error = try refusal(pair, .names(["mx.example.org"]))
        #expect(error?.kind == .verification)
        #expect(error?.reason.contains("another host name") == true)
    }

    @Test func refusesAPartialWildcard() throws {
        #expect(try refusal(Certificates.signed("m*.example.net"), .names(["mx.example.net"]))?.kind == .verification)
    }

    @Test func acceptsAWildcardOfOneLabel() throws {
        let pair = try Certificates.signed("*.example.net")
        let duet = try Duet(.server(pair), .client(), check: .names(["mx.example.net"])).meet()
        #expect(duet.client.summary?.verified == .name("*.example.net"))
        #expect(try refusal(pair, .names(["a.b.example.net"]))?.kind == .verification)
    }

    @Test func refusesAnExpiredCertificate() throws {
        let pair = try Certificates.signed("mx.example.net", days: 5, startsAfterDays: -10)
        let error = try refusal(pair, .names(["mx.example.net"]))
        #expect(error?.kind == .verification)
        #expect(error?.reason.contains("expired") == true)
    }

    @Test func refusesASelfSignedCertificate() throws {
        let pair = try Certificates.make(["mx.example.net"])
        #expect(try refusal(pair, .names(["mx.example.net"]))?.reason.contains("self-signed") == true)
    }

    @Test func refusesAnUnknownAuthority() throws {
        let pair = try Certificates.make(["mx.example.net"], issuer: Certificates.stranger.get())
        #expect(try refusal(pair, .names(["mx.example.net"]))?.kind == .verification)
    }

    @Test func looksAtNothingWhenNothingIsDemanded() throws {
        let pair = try Certificates.make(["elsewhere.example"], startsAfterDays: -10, days: 5)
        let duet = try Duet(.server(pair), .client(), name: "mx.example.net").meet()
        #expect(duet.client.summary?.verified == .nothing)
    }

    @Test func aCheckWithoutNamesIsNoCheck() {
        #expect(throws: TLSError.self) { try Duet(.server(pair), .client(), check: .names([])) }
    }

    @Test func showsTheCertificateOfTheNameAskedFor() throws {
        let (exact, wild) = (try Certificates.signed("mail.example.org"), try Certificates.signed("*.example.com"))
        let context = try TLSContext.server(pair) { $0.byName = ["Mail.example.org": exact, "*.example.com": wild] }
        for name in ["mx.example.net", "mail.example.org", "MAIL.example.ORG", "a.example.com"] {
            let duet = try Duet(context, .client(), name: name, check: .names([name])).meet()
            #expect(duet.client.summary?.verified != .nothing, "\(name)")
        }
        #expect(try refusal(context, .names(["mail.example.com.au"]))?.kind == .verification)
    }

    // MARK: Resumption

    @Test(arguments: TLSContext.Version.allCases)
    func resumesWithTheSameCheckOnly(_ version: TLSContext.Version) throws {
        let server = try TLSContext.server(pair, only: version)
        let client = try TLSContext.client()
        let check = PeerCheck.names(["mx.example.net"])
        let first = try Duet(server, client, check: check, peer: "mx:25").meet()
        #expect(first.client.summary?.isResumed == false)
        let second = try Duet(server, client, check: check, peer: "mx:25").meet()
        #expect(second.client.summary?.isResumed == true)
        #expect(second.server.summary?.isResumed == true)
        #expect(second.client.summary?.verified == .name("mx.example.net"))
        #expect(try second.tell("again") == "again")
        let unchecked = try Duet(server, client, name: "mx.example.net", peer: "mx:25").meet()
        #expect(unchecked.client.summary?.isResumed == false)
        let third = try Duet(server, client, check: check, peer: "mx:25").meet()
        #expect(third.client.summary?.isResumed == true)
        let elsewhere = try Duet(server, client, check: check, peer: "other:25").meet()
        #expect(elsewhere.client.summary?.isResumed == false)
    }

    @Test func resumesUnderSNI() throws {
        let named = try Certificates.signed("mail.example.org")
        let server = try TLSContext.server(pair) { $0.byName = ["mail.example.org": named] }
        let client = try TLSContext.client()
        let check = PeerCheck.names(["mail.example.org"])
        try Duet(server, client, check: check, peer: "a").meet()
        #expect(try Duet(server, client, check: check, peer: "a").meet().client.summary?.isResumed == true)
    }

    @Test func aNewContextStartsAnew() throws {
        let client = try TLSContext.client()
        try Duet(.server(pair), client, peer: "mx:25").meet()
        let second = try Duet(.server(pair), client, peer: "mx:25").meet()
        #expect(second.client.summary?.isResumed == false)
        #expect(try second.tell("hello") == "hello")
    }

    // MARK: Refusals

    @Test func versionsThatDoNotMeetAreSaid() throws {
        let client = try TLSContext.client { $0.parameters.minimumVersion = .tls13 }
        let error = try refusal { try Duet(.server(pair, only: .tls12), client).meet() }
        #expect(error?.kind == .handshake)
        #expect(error?.reason.contains("version") == true)
    }

    @Test func plainTextIsNoTLS() throws {
        let server = try TLSEngine(server: .server(pair))
        var input = ByteBuffer(string: "EHLO injected.example\r\nMAIL FROM:<a@b>\r\n")
        var plaintext = ByteBuffer()
        let error = try refusal { try server.receive(&input, into: &plaintext) }
        #expect(error?.reason.contains("did not answer in TLS") == true)
        #expect(plaintext.readableBytes == 0)
        #expect(throws: TLSError.self) { try server.send(ByteBuffer(string: "220")) }
    }

    @Test func garbageNeverTrapsNorBecomesPlaintext() throws {
        let (context, client) = (try TLSContext.server(pair), try TLSContext.client())
        let line = "MAIL FROM:<a@b.example>\r\n"
        var random = SeededRandom(seed: 20)
        for round in 0..<(Effort.isOptimised ? 3000 : 300) {
            let duet = try Duet(context, client)
            if round.isMultiple(of: 2) {
                try duet.meet()
                try duet.client.send(ByteBuffer(string: line))
            } else {
                try duet.client.start()
            }
            var bytes = ByteBuffer()
            duet.client.takeCiphertext(into: &bytes)
            var input = ByteBuffer(bytes: garble(Array(bytes.readableBytesView), &random))
            var plaintext = ByteBuffer()
            let fate = Result { try duet.server.receive(&input, into: &plaintext) }
            let text = String(buffer: plaintext)
            #expect(text.isEmpty || text == line, "round \(round): \(fate)")
        }
    }

    private func garble(_ octets: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
        var octets = octets
        switch Int.random(in: 0..<4, using: &random) {
        case 0:
            let place = Int.random(in: 0..<octets.count, using: &random)
            octets[place] ^= UInt8.random(in: 1...255, using: &random)
        case 1:
            let count = Int.random(in: 1...400, using: &random)
            octets = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
        case 2:
            let place = Int.random(in: 0...octets.count, using: &random)
            octets.insert(UInt8.random(in: 0...255, using: &random), at: place)
        default: octets.removeLast(Int.random(in: 1...octets.count, using: &random))
        }
        return octets
    }

    // MARK: Client certificates

    @Test(arguments: TLSContext.Version.allCases)
    func aClientsFingerprintOutlivesResumption(_ version: TLSContext.Version) throws {
        let own = try Certificates.make(["app.example"])
        let server = try TLSContext.server(pair) {
            $0.clientCertificates = .asked
            $0.parameters.maximumVersion = version
        }
        let client = try TLSContext.client { $0.certificate = own }
        let first = try Duet(server, client, peer: "a").meet()
        let second = try Duet(server, client, peer: "a").meet()
        #expect(first.server.summary?.peerFingerprint?.count == 32)
        #expect(first.server.summary?.verified == .nothing)
        #expect(second.server.summary?.isResumed == true)
        #expect(second.server.summary?.peerFingerprint == first.server.summary?.peerFingerprint)
    }

    @Test func servesClientsWithoutACertificate() throws {
        let server = try TLSContext.server(pair) { $0.clientCertificates = .asked }
        let duet = try Duet(server, .client()).meet()
        #expect(duet.server.summary?.peerFingerprint == nil)
        #expect(duet.server.summary?.verified == .nothing)
        #expect(try duet.tell("served") == "served")
    }

    @Test func knowsAClientOfItsAuthority() throws {
        let own = try Certificates.signed("app.example")
        let authorities = try Certificates.authority.get().certificates
        let server = try TLSContext.server(pair) {
            $0.clientCertificates = .asked
            $0.clientAuthorities = authorities
        }
        #expect(try Duet(server, .client { $0.certificate = own }).meet().server.summary?.verified == .authority)
    }

    // MARK: -

    private func refusal(_ pair: CertificatePair, _ check: PeerCheck) throws -> TLSError? {
        try refusal(TLSContext.server(pair), check)
    }

    private func refusal(_ context: TLSContext, _ check: PeerCheck) throws -> TLSError? {
        try refusal { try Duet(context, .client(), check: check).meet() }
    }

    private func refusal(_ body: () throws -> some Any) throws -> TLSError? {
        do {
            _ = try body()
            return nil
        } catch let error as TLSError {
            return error
        }
    }
}

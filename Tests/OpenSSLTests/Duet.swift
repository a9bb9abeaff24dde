// Duet.swift — two engines that talk to each other in memory, and certificates for them.

import NIOCore
import OpenSSL

/// A server and a client, joined by nothing but this.
final class Duet {
    let server: TLSEngine
    let client: TLSEngine
    /// What each of them has read.
    var serverRead = ByteBuffer()
    var clientRead = ByteBuffer()
    /// Largest piece of ciphertext handed over at a time.
    let piece: Int

    init(
        _ serverContext: TLSContext,
        _ clientContext: TLSContext,
        name: String? = nil,
        check: PeerCheck = .none,
        peer: String? = nil,
        isBare: Bool = false,
        piece: Int = .max
    ) throws {
        server = try TLSEngine(server: serverContext)
        client = try TLSEngine(client: clientContext, serverName: name, check: check, peer: peer, isBare: isBare)
        self.piece = piece
    }

    /// Shakes hands and exchanges tickets.
    @discardableResult
    func meet() throws -> Duet {
        try client.start()
        try pump()
        return self
    }

    /// Carries ciphertext to and fro until there is none.
    func pump() throws {
        while client.hasCiphertext || server.hasCiphertext {
            try carry(from: client, to: server, &serverRead)
            try carry(from: server, to: client, &clientRead)
        }
    }

    private func carry(from: TLSEngine, to: TLSEngine, _ read: inout ByteBuffer) throws {
        var bytes = ByteBuffer()
        from.takeCiphertext(into: &bytes)
        while var part = bytes.readSlice(length: min(piece, bytes.readableBytes)), part.readableBytes > 0 {
            try to.receive(&part, into: &read)
        }
    }

    /// Says something from the client and returns what the server understood.
    func tell(_ text: String) throws -> String {
        try client.send(ByteBuffer(string: text))
        try pump()
        return serverRead.readString(length: serverRead.readableBytes) ?? ""
    }

    /// Says something from the server and returns what the client understood.
    func answer(_ text: String) throws -> String {
        try server.send(ByteBuffer(string: text))
        try pump()
        return clientRead.readString(length: clientRead.readableBytes) ?? ""
    }
}

/// Pairs that tests share: making keys takes time.
enum Certificates {
    static let authority = Result { try make(["authority.test"], isAuthority: true) }
    static let stranger = Result { try make(["stranger.test"], isAuthority: true) }

    static func make(
        _ names: [String],
        issuer: CertificatePair? = nil,
        startsAfterDays: Int = -1,
        days: Int = 30,
        kind: SigningKey.Kind = .p256,
        isAuthority: Bool = false
    ) throws -> CertificatePair {
        var request = CertificatePair.Request(names: names)
        request.startsAfterDays = startsAfterDays
        request.days = days
        request.kind = kind
        request.isAuthority = isAuthority
        return try CertificatePair.make(request, issuer: issuer)
    }

    /// A certificate for names that the test's authority signed.
    static func signed(_ names: String..., days: Int = 30, startsAfterDays: Int = -1) throws -> CertificatePair {
        try make(names, issuer: authority.get(), startsAfterDays: startsAfterDays, days: days)
    }
}

extension TLSContext {
    static func server(_ pair: CertificatePair, _ change: (inout Server) -> Void = { _ in }) throws -> TLSContext {
        var settings = Server(certificate: pair)
        change(&settings)
        return try TLSContext(server: settings)
    }

    /// A server of one version.
    static func server(_ pair: CertificatePair, only version: Version) throws -> TLSContext {
        try server(pair) {
            $0.parameters.minimumVersion = version
            $0.parameters.maximumVersion = version
        }
    }

    /// A client that believes the test's authority.
    static func client(_ change: (inout Client) -> Void = { _ in }) throws -> TLSContext {
        var settings = Client()
        settings.authorities = .pem(try Certificates.authority.get().certificates)
        change(&settings)
        return try TLSContext(client: settings)
    }
}

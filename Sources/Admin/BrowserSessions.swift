// BrowserSessions.swift — who is logged in at the page: a secret in a cookie stands for a token, until its time is over.
//
// Guarantees: a session may do what its token may do at that moment, from where the token may be used, and ends with it; only
// a hash of the secret is kept, in memory, so a restart ends all of them; there is a bounded number, and of one token too,
// so that nobody's sessions push out everybody else's.

import Config
import Glibc
package import Mail
import OpenSSL
import Synchronization

/// One browser that is logged in.
package struct BrowserSession: Hashable, Sendable {
    /// For people: it opens nothing.
    package let id: String
    /// The token's name, and its hash: another token of that name is another token.
    package let token: String
    let tokenDigest: [UInt8]
    let digest: [UInt8]
    package let client: IPAddress?
    /// What the browser calls itself, printable and short.
    package let agent: String
    package let createdAt: Timestamp
    package fileprivate(set) var usedAt: Timestamp

    package var expiresAt: Timestamp {
        min(
            createdAt.adding(milliseconds: BrowserSessions.longest),
            usedAt.adding(milliseconds: BrowserSessions.longestRest)
        )
    }
}

/// All of them.
package final class BrowserSessions: Sendable {
    /// How the cookie's name begins.
    static let cookie = "martlet_session"
    /// The header without which a session changes nothing: pages of other sites cannot send it.
    static let header = "x-martlet-page"
    /// Milliseconds of a session: 14 days, and 24 hours without a request.
    static let longest: Int64 = 14 * 86_400_000
    static let longestRest: Int64 = 86_400_000
    /// Sessions at once, and of one token.
    static let most = 256
    static let mostOfToken = 32

    private let sessions = Mutex<[BrowserSession]>([])
    /// Whose sessions these are, among all relays that one browser may know by the same host.
    private let relay: String

    /// - Parameter relay: what tells this relay from others of the machine.
    package init(relay: String = "") { self.relay = relay }

    /// The cookie's name: a browser gives the cookies of a host to all its ports (RFC 6265 §8.5), so two relays of one host, or
    /// two that are reached through one, must not have the same.
    ///
    /// - Parameter host: the Host that the browser asks for.
    func cookie(_ host: String?) -> String {
        let port = host?.split(octet: ":", omittingEmpty: false).last ?? ""
        return "\(Self.cookie)_\(Digest.sha256(Array("\(relay)\0\(port)".utf8)).prefix(4).hexadecimal)"
    }

    /// Logs somebody in; of those of a token, or of all, the one that was used least lately makes room.
    ///
    /// - Returns: the session and the secret that stands for it; nil when the system has no randomness to give.
    func begin(
        token: String,
        digest tokenDigest: [UInt8],
        client: IPAddress?,
        agent: String,
        at now: Timestamp
    ) -> (session: BrowserSession, secret: String)? {
        guard let random = try? Secrets.random(40) else { return nil }
        let secret = random.prefix(32).hexadecimal
        let session = BrowserSession(
            id: random.suffix(8).hexadecimal,
            token: token,
            tokenDigest: tokenDigest,
            digest: Digest.sha256(Array(secret.utf8)),
            client: client,
            agent: Self.printable(agent),
            createdAt: now,
            usedAt: now
        )
        sessions.withLock { all in
            all.removeAll { $0.expiresAt <= now }
            if all.count(where: { $0.tokenDigest == tokenDigest }) >= Self.mostOfToken {
                Self.dropOldest(&all) { $0.tokenDigest == tokenDigest }
            }
            if all.count >= Self.most { Self.dropOldest(&all) { _ in true } }
            all.append(session)
        }
        return (session, secret)
    }

    /// The session that a secret stands for; it counts as used.
    func find(_ secret: String, at now: Timestamp) -> BrowserSession? {
        let digest = Digest.sha256(Array(secret.utf8))
        return sessions.withLock { all in
            var found: Int?
            for (place, session) in all.enumerated() where Secrets.areEqual(session.digest, digest) { found = place }
            guard let found else { return nil }
            guard now < all[found].expiresAt else {
                all.remove(at: found)
                return nil
            }
            all[found].usedAt = max(all[found].usedAt, now)
            return all[found]
        }
    }

    /// The token that a session stands for; nil: there is no such session any more.
    func tokenDigest(of id: String, at now: Timestamp) -> [UInt8]? {
        sessions.withLock { all in all.first { $0.id.isSame(octets: id) && now < $0.expiresAt }?.tokenDigest }
    }

    /// Those that are not over.
    func list(at now: Timestamp) -> [BrowserSession] {
        sessions.withLock { all in
            all.removeAll { $0.expiresAt <= now }
            return all
        }
    }

    /// Ends one.
    ///
    /// - Returns: whether it was there.
    func end(_ id: String) -> Bool {
        sessions.withLock { all in
            let count = all.count
            all.removeAll { $0.id.isSame(octets: id) }
            return all.count < count
        }
    }

    /// The secret in a request's cookies.
    func secret(_ headers: [String: String]) -> String? {
        guard let cookies = headers["cookie"], cookies.utf8.count <= 8192 else { return nil }
        let name = cookie(headers["host"])
        for pair in cookies.split(octet: ";") {
            let words = pair.words.joined(separator: " ")
            if let value = words.rest(behind: "\(name)=") { return String(value) }
        }
        return nil
    }

    private static func dropOldest(_ all: inout [BrowserSession], where fits: (BrowserSession) -> Bool) {
        let oldest = all.indices.filter { fits(all[$0]) }.min { all[$0].usedAt < all[$1].usedAt }
        if let oldest { all.remove(at: oldest) }
    }

    private static func printable(_ text: String) -> String {
        let bytes = text.utf8.prefix(200).map { (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: "?") }
        return String(decoding: bytes, as: UTF8.self)
    }
}

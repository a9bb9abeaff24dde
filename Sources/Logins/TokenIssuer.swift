// TokenIssuer.swift — a section `[oauth NAME]` at work: tokens of one issuer, judged here by keys that were fetched before.
//
// Guarantee: never fails open. Keys that cannot be had let nobody in and refuse nobody.

import Config
import HTTPClient
import Log
import Mail
import Synchronization

/// One issuer.
final class TokenIssuer: LoginSource {
    /// Octets of a key set.
    private static let mostKeyBytes = 256 << 10

    let name: String
    let settings: LoginSettings.Issuer
    var takesPasswords: Bool { false }
    var takesTokens: Bool { true }
    private let client: HTTPClient
    private let readFile: @Sendable (String) -> [UInt8]?
    private let log: LogSink
    private let ring = Mutex(KeyRing())
    /// One fetch at a time; who comes meanwhile waits for it.
    private let fetching = Mutex(())

    /// - Parameter readFile: the octets of a file of keys.
    init(
        _ settings: LoginSettings.Issuer,
        client: HTTPClient,
        log: LogSink,
        readFile: @escaping @Sendable (String) -> [UInt8]?
    ) {
        (self.settings, self.client, self.log, self.readFile) = (settings, client, log, readFile)
        name = "issuer \(settings.name)"
    }

    func judge(_ question: LoginQuestion) -> LoginVerdict {
        guard case .token(let text) = question.proof else { return .unknown }
        do throws(WebToken.Refusal) {
            let token = try WebToken(text)
            guard token.issuer.map({ $0.isSame(octets: settings.issuer) }) ?? false else { return .unknown }
            fetch(for: token.keyName)
            guard let keys = ring.withLock({ $0.keys(token.keyName, token.method, at: .now()) }) else {
                return .trouble("\(name): its keys cannot be had")
            }
            let user = try token.judge(settings, keys, at: .now())
            // Who it says it is must be who the token is of.
            guard question.user.isEmpty || question.user.lowercasedASCII.isSame(octets: user.lowercasedASCII) else {
                return .refused("\(name): the token is of \(user), and of nobody else")
            }
            return .allowed(LoginGrant(user: user, source: name))
        } catch {
            return .refused("\(name): \(error.reason)")
        }
    }

    private func fetch(for keyName: String?) {
        let refresh = Int64(settings.refresh) * 1000
        guard ring.withLock({ $0.need(keyName, refresh: refresh, at: .now()) }) == .fetch else { return }
        fetching.withLock { _ in
            guard ring.withLock({ $0.need(keyName, refresh: refresh, at: .now()) }) == .fetch else { return }
            ring.withLock { $0.tries(at: .now()) }
            guard let bytes = load(), let entries = KeyRing.read(bytes) else {
                return log.write(.warning, "keys of an issuer cannot be had") { line in
                    line.add(.scope, name)
                    line.add(.path, settings.keys)
                }
            }
            ring.withLock { $0.take(entries, at: .now()) }
        }
    }

    private func load() -> [UInt8]? {
        guard settings.keys.starts(withOctets: "http") else { return readFile(settings.keys) }
        var request = HTTPRequest("GET", settings.keys, headers: [("Accept", "application/json")])
        request.timeout = .seconds(settings.timeout)
        request.maxResponseBytes = Self.mostKeyBytes
        guard let response = try? client.send(request), response.status == 200 else { return nil }
        return response.body
    }
}

// LoginDirectory.swift — a section `[ldap NAME]` at work: a password is right when the directory lets its owner bind with it
// (RFC 4511, 4513). The only importer of OpenLDAP's library.
//
// Guarantees: every call blocks for a bounded time; certificates are verified; nothing of a login means anything in a filter or a
// DN; an empty password is never sent; never fails open.

internal import CLDAP
import Config
import Log
import Mail
import Synchronization

/// One directory.
final class LoginDirectory: LoginSource {
    let name: String
    let settings: LoginSettings.Directory
    var takesPasswords: Bool { true }
    var takesTokens: Bool { false }
    private let log: LogSink
    private let breaker = Mutex(Breaker(limit: 5, pause: 30_000))

    init(_ settings: LoginSettings.Directory, log: LogSink) {
        (self.settings, self.log) = (settings, log)
        name = "directory \(settings.name)"
    }

    func judge(_ question: LoginQuestion) -> LoginVerdict {
        guard case .password(let password) = question.proof else { return .unknown }
        guard !password.isEmpty, !question.user.isEmpty else { return .refused("\(name): an empty password") }
        guard breaker.withLock({ $0.mayAsk(at: .now()) }) else {
            return .trouble("\(name) is left alone for a while, because it did not answer")
        }
        let verdict = ask(question.user, password)
        if case .trouble(let reason) = verdict {
            let opens = breaker.withLock { $0.failed(at: .now()) }
            log.write(opens ? .error : .warning, opens ? "directory is left alone for a while" : "directory failed") {
                $0.add(.scope, name)
                $0.add(.reason, reason)
            }
        } else {
            _ = breaker.withLock { $0.succeeded() }
        }
        return verdict
    }

    private func ask(_ user: String, _ password: [UInt8]) -> LoginVerdict {
        var handle: OpaquePointer?
        defer { relay_ldap_close(handle) }
        let seconds = Int32(settings.timeout)
        let code = relay_ldap_open(settings.url, seconds, settings.caFile, settings.startsTLS ? 1 : 0, &handle)
        guard End(code) == .good, let handle else { return trouble(code) }
        let dn: String
        if let template = settings.userDN.flatMap({ LoginSettings.Template($0) }) {
            dn = template.filled(user, DirectoryText.inName)
        } else {
            switch find(user, handle) {
            case .success(let found): dn = found
            case .failure(let end): return end.verdict
            }
        }
        let bound = relay_ldap_bind(handle, dn, password, password.count)
        switch End(bound) {
        case .good: return .allowed(LoginGrant(user: user, source: name))
        case .refused: return .refused("\(name): \(words(bound)) for \(dn)")
        case .several, .trouble: return trouble(bound)
        }
    }

    /// How a call of the library ended.
    private enum End: Int32 {
        case good, refused, several, trouble

        init(_ code: Int32) { self = End(rawValue: relay_ldap_end(code)) ?? .trouble }
    }

    /// Why nobody was found.
    private struct NotFound: Error {
        let verdict: LoginVerdict
    }

    /// The one entry of a login.
    private func find(_ user: String, _ handle: OpaquePointer) -> Result<String, NotFound> {
        let password = settings.bindPassword.map { Array($0.revealed.utf8) } ?? []
        // Of the searcher's own password only the administrator can do something about.
        let bound = relay_ldap_bind(handle, settings.bindDN, password, password.count)
        guard bound == 0 else { return .failure(NotFound(verdict: trouble(bound))) }
        guard let filter = LoginSettings.Template(settings.filter)?.filled(user, DirectoryText.inFilter),
            let base = settings.base
        else { return .failure(NotFound(verdict: .trouble("\(name) is not configured"))) }
        var found: UnsafeMutablePointer<CChar>?
        let code = relay_ldap_find(handle, base, filter, Int32(settings.timeout), &found)
        defer { relay_ldap_free(found) }
        switch End(code) {
        case .good:
            guard let found else { return .failure(NotFound(verdict: .unknown)) }
            return .success(String(cString: found))
        case .several:
            return .failure(NotFound(verdict: .refused("\(name): more than one entry fits \(filter)")))
        case .refused, .trouble: return .failure(NotFound(verdict: trouble(code)))
        }
    }

    private func trouble(_ code: Int32) -> LoginVerdict { .trouble("\(name): \(words(code))") }

    private func words(_ code: Int32) -> String { String(cString: relay_ldap_words(code)) }
}

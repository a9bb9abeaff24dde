// Lookup.swift — what `auth_flat_file.ini` says of a login: passwords of users, and of their programs.

import Config
import Mail
import OpenSSL
import Passwords
import SMTP

/// The arithmetic behind an answer: blocks for as long as hashing takes.
struct Lookup: Sendable {
    let settings: AuthSettings
    let secret: [UInt8]
    let client: IPAddress?

    /// What the file says.
    ///
    /// - Returns: nil where it does not know the login, and somebody else may.
    func outcome(of question: SASLQuestion, at now: Timestamp, asksOthers: Bool) -> LoginOutcome? {
        switch question {
        case .password(let user, let password): return outcome(of: password, user, at: now, asksOthers: asksOthers)
        case .token: return nil
        default: return LoginOutcome(answer(question), reason: reason(question.user))
        }
    }

    private func outcome(of password: [UInt8], _ user: String, at now: Timestamp, asksOthers: Bool) -> LoginOutcome? {
        if let app = settings.app(password, of: user) {
            if let complaint = app.complaint(from: client, at: now) { return LoginOutcome(.refused, reason: complaint) }
            return LoginOutcome(.acceptedAs(user, bound: app.senders.map { .only($0) }), by: .app(app.name))
        }
        if asksOthers, settings.users[user] == nil { return nil }
        let isRight = isPassword(password, of: user)
        return isRight ? LoginOutcome(.accepted) : LoginOutcome(.refused, reason: reason(user))
    }

    private func reason(_ user: String) -> String {
        settings.users[user] == nil && settings.apps[user] == nil
            ? "there is no such user" : "the password does not fit"
    }

    private func answer(_ question: SASLQuestion) -> SASLAnswer {
        switch question {
        case .password, .token: .refused
        case .cramMD5(let user, let challenge, let digest): cramMD5(user, challenge, digest)
        case .scramSalt(let user): salt(of: user)
        case .scramProof(let user, let message, let proof): scram(user, message, proof)
        }
    }

    /// What is stored for a name; for one that nobody has, somebody's, so that it costs the same work.
    private func stored(_ user: String) -> (password: StoredPassword, isReal: Bool)? {
        if let password = settings.users[user] { return (password, true) }
        guard !settings.users.isEmpty else { return nil }
        let number = keyed("stand-in", user).prefix(4).reduce(0) { $0 << 8 | Int($1) }
        let users = settings.users
        return (users[users.index(users.startIndex, offsetBy: number % users.count)].value, false)
    }

    private func isPassword(_ password: [UInt8], of user: String) -> Bool {
        guard let (stored, isReal) = stored(user) else { return false }
        let isRight =
            switch stored {
            // Hashed first, so that the comparison tells nothing, not even the length.
            case .plain(let text): Secrets.areEqual(keyed(password), keyed(Array(text.utf8)))
            case .hashed(let hash): hash.matches(password)
            case .scram(let keys):
                Secrets.areEqual(
                    ScramArithmetic.keys(of: password, keys.salt, keys.iterations).storedKey,
                    keys.storedKey
                )
            }
        return isRight && isReal
    }

    private func cramMD5(_ user: String, _ challenge: [UInt8], _ digest: [UInt8]) -> SASLAnswer {
        guard let (stored, isReal) = stored(user) else { return .refused }
        var key = secret
        var isPlain = false
        if case .plain(let text) = stored { (key, isPlain) = (Array(text.utf8), true) }
        let mac = KeyedHash.hmac(.md5, key: key, message: challenge)
        // The client may write capital letters.
        let isRight = Secrets.areEqual(
            mac.hexadecimalOctets,
            digest.map { (0x41...0x46).contains($0) ? $0 | 0x20 : $0 }
        )
        return isRight && isPlain && isReal ? .accepted : .refused
    }

    /// The salt that a client is told; made up, and always the same, where there is none.
    func salt(of user: String) -> SASLAnswer {
        let (salt, iterations) = scramSalt(user)
        return .scramSalt(salt, iterations: iterations)
    }

    private func scramSalt(_ user: String) -> (salt: [UInt8], iterations: Int) {
        let own = keyed("salt", user)
        guard case .scram(let keys)? = stored(user)?.password else {
            return (Array(own.prefix(16)), ScramKeys.iterations)
        }
        let isReal = settings.users[user] != nil
        return (isReal ? keys.salt : Array((own + own).prefix(keys.salt.count)), keys.iterations)
    }

    private func scram(_ user: String, _ message: [UInt8], _ proof: [UInt8]) -> SASLAnswer {
        guard let (stored, isReal) = stored(user) else { return .refused }
        let keys: ScramKeys
        switch stored {
        case .scram(let kept): keys = kept
        case .plain(let text):
            let (salt, iterations) = scramSalt(user)
            keys = ScramArithmetic.keys(of: Array(text.utf8), salt, iterations)
        case .hashed: return .refused
        }
        guard let signature = ScramArithmetic.signature(keys, message, proof), isReal else { return .refused }
        return .scramSignature(signature)
    }

    private func keyed(_ purpose: String, _ text: String) -> [UInt8] {
        KeyedHash.hmac(.sha256, key: secret, message: Array("\(purpose) \(text)".utf8))
    }

    private func keyed(_ bytes: [UInt8]) -> [UInt8] { KeyedHash.hmac(.sha256, key: secret, message: bytes) }
}

// Authenticator.swift — answers the questions of AUTH from `auth_flat_file.ini`.
//
// Guarantees: hashing never runs on an event loop, and never on the threads of the disk; a name that nobody has costs
// the work of one that somebody has, and gets the same answer; whoever failed waits (``AuthThrottle``); no password
// reaches a log.

package import Config
import CoreMetrics
import Log
package import Loop
package import Mail
import NIOCore
import NIOPosix
import OpenSSL
import Passwords
package import SMTP
import Synchronization

/// Looks logins up.
///
/// One for all sessions; safe from any thread.
package final class Authenticator: Sendable {
    /// Hashing is meant to be slow: two threads for it, made at the first login and kept.
    private static let threads: NIOThreadPool = {
        let pool = NIOThreadPool(numberOfThreads: 2)
        pool.start()
        return pool
    }()
    /// Logins that may wait for a thread; more are asked to come again.
    private static let longestLine = 256

    private let settings: InForce<Settings>
    private let throttle = Mutex(AuthThrottle())
    private let inLine = Mutex(0)
    /// Makes salts for those who have none, the same for the same name as long as the process lives.
    private let secret: [UInt8]

    package init(settings: InForce<Settings>) {
        self.settings = settings
        var generator = SystemRandomNumberGenerator()
        secret = (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }

    /// What a session may be offered.
    ///
    /// - Parameters:
    ///   - client: nil when its address could not be told.
    ///   - isSecure: the connection is encrypted.
    package static func offer(_ settings: AuthSettings, to client: IPAddress?, isSecure: Bool) -> AuthOffer {
        let mechanisms = settings.usableMethods
        let mayOffer = isSecure || settings.allowsPlaintext || client?.isLoopback == true
        return AuthOffer(
            mechanisms: mayOffer ? mechanisms : [],
            needsTLS: !mayOffer && !mechanisms.isEmpty,
            failures: settings.maxFailures,
            constraint: settings.constraint
        )
    }

    /// Answers a question, after the wait that the client has earned.
    func answer(
        _ question: SASLQuestion,
        from client: IPAddress?,
        on loop: any EventLoop
    ) -> EventLoopFuture<SASLAnswer> {
        let lookup = Lookup(settings: settings.ask { $0.auth }, secret: secret)
        if case .scramSalt(let user) = question { return loop.makeSucceededFuture(lookup.salt(of: user)) }
        let promise = loop.makePromise(of: SASLAnswer.self)
        let now = Uptime.now()
        attempt(Attempt(lookup: lookup, question: question, client: client, since: now), at: now, promise)
        return promise.futureResult
    }

    /// Failures that count against an address now.
    package func failures(of client: IPAddress) -> Int {
        throttle.withLock { $0.failures(of: client, at: .now()) }
    }

    // MARK: Waiting and working

    private struct Attempt: Sendable {
        let lookup: Lookup
        let question: SASLQuestion
        let client: IPAddress?
        let since: Uptime

        var maxDelay: Int64 { Int64(lookup.settings.maxDelay) * 1000 }
    }

    private func attempt(_ attempt: Attempt, at now: Uptime, _ promise: EventLoopPromise<SASLAnswer>) {
        let verdict = throttle.withLock { throttle in
            throttle.ask(
                attempt.client,
                attempt.question.user,
                since: attempt.since,
                at: now,
                maxDelay: attempt.maxDelay
            )
        }
        switch verdict {
        case .go: work(attempt, promise)
        case .wait(let milliseconds):
            promise.futureResult.eventLoop.scheduleTask(in: .milliseconds(milliseconds)) {
                self.attempt(attempt, at: .now(), promise)
            }
        case .end:
            AuthMetrics.throttled.increment()
            promise.succeed(.tooMany)
        }
    }

    private func work(_ attempt: Attempt, _ promise: EventLoopPromise<SASLAnswer>) {
        let mayWait = inLine.withLock { count in
            guard count < Self.longestLine else { return false }
            count += 1
            return true
        }
        guard mayWait else {
            finish(attempt, .unavailable, promise)
            return
        }
        Self.threads.submit { state in
            self.inLine.withLock { $0 -= 1 }
            guard case .active = state else {
                self.finish(attempt, .unavailable, promise)
                return
            }
            self.finish(attempt, attempt.lookup.answer(attempt.question), promise)
        }
    }

    private func finish(_ attempt: Attempt, _ answer: SASLAnswer, _ promise: EventLoopPromise<SASLAnswer>) {
        let succeeded: Bool? =
            switch answer {
            case .accepted, .scramSignature: true
            case .refused: false
            case .unavailable, .tooMany, .scramSalt: nil
            }
        throttle.withLock { throttle in
            throttle.finished(
                attempt.client,
                attempt.question.user,
                succeeded: succeeded,
                at: .now(),
                maxDelay: attempt.maxDelay
            )
        }
        if let succeeded { (succeeded ? AuthMetrics.accepted : AuthMetrics.refused).increment() }
        promise.succeed(answer)
    }
}

extension SASLQuestion {
    /// Who wants to be let in.
    var user: String {
        switch self {
        case .password(let user, _), .cramMD5(let user, _, _), .scramSalt(let user), .scramProof(let user, _, _): user
        }
    }
}

/// The arithmetic behind an answer: blocks for as long as hashing takes.
private struct Lookup: Sendable {
    let settings: AuthSettings
    let secret: [UInt8]

    func answer(_ question: SASLQuestion) -> SASLAnswer {
        switch question {
        case .password(let user, let password): isPassword(password, of: user) ? .accepted : .refused
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

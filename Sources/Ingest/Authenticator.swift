// Authenticator.swift — answers the questions of AUTH: from `auth_flat_file.ini`, and from whoever else may know.
//
// Guarantees: hashing never runs on an event loop, and never on the threads of the disk; a name that nobody has costs
// the work of one that somebody has, and gets the same answer; whoever failed waits (``AuthThrottle``); no password
// reaches a log.

package import Config
import CoreMetrics
import Log
package import Logins
package import Loop
package import Mail
import NIOCore
import NIOPosix
package import SMTP
import Synchronization

/// Who said that somebody may come in.
enum LoginProof: Hashable, Sendable {
    /// The file of users.
    case own
    /// An app password of that name.
    case app(String)
    /// A source of that name.
    case source(String)
}

/// What became of a question.
struct LoginOutcome: Sendable {
    let answer: SASLAnswer
    /// Why not, for the operator alone.
    let reason: String
    let proof: LoginProof

    init(_ answer: SASLAnswer, reason: String = "", by proof: LoginProof = .own) {
        (self.answer, self.reason, self.proof) = (answer, reason, proof)
    }

    init(_ verdict: LoginVerdict) {
        switch verdict {
        case .allowed(let grant):
            self.init(.acceptedAs(grant.user, bound: grant.constraint), by: .source(grant.source))
        case .refused(let reason): self.init(.refused, reason: reason)
        case .trouble(let reason): self.init(.unavailable, reason: reason)
        case .unknown: self.init(.refused, reason: "nobody knows this login")
        }
    }
}

/// Where a session stands that asks.
struct LoginPlace: Sendable {
    let client: IPAddress?
    let listener: String
    let isSecure: Bool
    let mechanism: String
}

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
    /// Whoever else is asked is waited for: threads for that, made at the first such login and kept.
    private static let askers: NIOThreadPool = {
        let pool = NIOThreadPool(numberOfThreads: 16)
        pool.start()
        return pool
    }()
    /// Logins that may wait for a thread; more are asked to come again.
    private static let longestLine = 256

    private let settings: InForce<Settings>
    private let sources: LoginSources
    private let throttle = Mutex(AuthThrottle())
    private let inLine = Mutex(0)
    /// Makes salts for those who have none, the same for the same name as long as the process lives.
    private let secret: [UInt8]

    package init(settings: InForce<Settings>, sources: LoginSources) {
        self.settings = settings
        self.sources = sources
        var generator = SystemRandomNumberGenerator()
        secret = (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
    }

    /// What a session may be offered.
    ///
    /// - Parameters:
    ///   - client: nil when its address could not be told.
    ///   - isSecure: the connection is encrypted.
    package static func offer(_ all: Settings, to client: IPAddress?, isSecure: Bool) -> AuthOffer {
        let (settings, mechanisms) = (all.auth, all.loginMethods)
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
        at place: LoginPlace,
        on loop: any EventLoop
    ) -> EventLoopFuture<LoginOutcome> {
        let (auth, asksOthers) = settings.ask { ($0.auth, $0.asksForPasswords) }
        let lookup = Lookup(settings: auth, secret: secret, client: place.client)
        if case .scramSalt(let user) = question { return loop.makeSucceededFuture(LoginOutcome(lookup.salt(of: user))) }
        let promise = loop.makePromise(of: LoginOutcome.self)
        let now = Uptime.now()
        let trial = Trial(lookup: lookup, question: question, place: place, asksOthers: asksOthers, since: now)
        self.trial(trial, at: now, promise)
        return promise.futureResult
    }

    /// Whether a login that was let in would still be.
    func knows(_ user: String, by proof: LoginProof, _ settings: Settings) -> Bool {
        switch proof {
        case .own: settings.auth.users[user] != nil
        case .app(let name): settings.auth.has(app: name, of: user, at: .now())
        case .source(let name): sources.has(name)
        }
    }

    /// Failures that count against an address now.
    package func failures(of client: IPAddress) -> Int {
        throttle.withLock { $0.failures(of: client, at: .now()) }
    }

    // MARK: Waiting and working

    private struct Trial: Sendable {
        let lookup: Lookup
        let question: SASLQuestion
        let place: LoginPlace
        let asksOthers: Bool
        let since: Uptime

        var client: IPAddress? { place.client }

        /// Who wants to be let in; a token says that itself, and until it is read its bearer is known by the address.
        var user: String {
            let name = question.user
            return name.isEmpty ? "\u{1}\(client?.subscriber.description ?? "")" : name
        }

        /// The same for others; nil where only the file can know.
        var foreign: LoginQuestion? {
            let proof: LoginQuestion.Proof
            switch question {
            case .password(_, let password): proof = .password(password)
            case .token(_, let token): proof = .token(token)
            default: return nil
            }
            return LoginQuestion(
                user: question.user,
                proof: proof,
                mechanism: place.mechanism,
                client: client,
                listener: place.listener,
                isSecure: place.isSecure
            )
        }

        var maxDelay: Int64 { Int64(lookup.settings.maxDelay) * 1000 }
    }

    private func trial(_ trial: Trial, at now: Uptime, _ promise: EventLoopPromise<LoginOutcome>) {
        let verdict = throttle.withLock { throttle in
            throttle.ask(
                trial.client,
                trial.user,
                since: trial.since,
                at: now,
                maxDelay: trial.maxDelay
            )
        }
        switch verdict {
        case .go: work(trial, promise)
        case .wait(let milliseconds):
            promise.futureResult.eventLoop.scheduleTask(in: .milliseconds(milliseconds)) {
                self.trial(trial, at: .now(), promise)
            }
        case .end:
            AuthMetrics.throttled.increment()
            promise.succeed(LoginOutcome(.tooMany))
        }
    }

    private func work(_ trial: Trial, _ promise: EventLoopPromise<LoginOutcome>) {
        run(trial, on: Self.threads, promise) {
            trial.lookup.outcome(of: trial.question, at: .now(), asksOthers: trial.asksOthers)
        }
    }

    private func askOthers(_ trial: Trial, _ promise: EventLoopPromise<LoginOutcome>) {
        guard let question = trial.foreign else { return finish(trial, LoginOutcome(.unknown), promise) }
        run(trial, on: Self.askers, promise) { [sources] in LoginOutcome(sources.judge(question)) }
    }

    /// - Parameter body: blocks; nil: others are to be asked.
    private func run(
        _ trial: Trial,
        on threads: NIOThreadPool,
        _ promise: EventLoopPromise<LoginOutcome>,
        _ body: @escaping @Sendable () -> LoginOutcome?
    ) {
        let mayWait = inLine.withLock { count in
            guard count < Self.longestLine else { return false }
            count += 1
            return true
        }
        let busy = LoginOutcome(.unavailable, reason: "too many logins at once")
        guard mayWait else { return finish(trial, busy, promise) }
        threads.submit { state in
            self.inLine.withLock { $0 -= 1 }
            guard case .active = state else { return self.finish(trial, busy, promise) }
            if let outcome = body() { self.finish(trial, outcome, promise) } else { self.askOthers(trial, promise) }
        }
    }

    private func finish(_ trial: Trial, _ outcome: LoginOutcome, _ promise: EventLoopPromise<LoginOutcome>) {
        let succeeded: Bool? =
            switch outcome.answer {
            case .accepted, .acceptedAs, .scramSignature: true
            case .refused: false
            case .unavailable, .tooMany, .scramSalt: nil
            }
        throttle.withLock { throttle in
            throttle.finished(
                trial.client,
                trial.user,
                succeeded: succeeded,
                at: .now(),
                maxDelay: trial.maxDelay
            )
        }
        if let succeeded { (succeeded ? AuthMetrics.accepted : AuthMetrics.refused).increment() }
        promise.succeed(outcome)
    }
}

extension SASLQuestion {
    /// Who wants to be let in.
    var user: String {
        switch self {
        case .password(let user, _), .cramMD5(let user, _, _), .scramSalt(let user), .scramProof(let user, _, _),
            .token(let user, _):
            user
        }
    }
}

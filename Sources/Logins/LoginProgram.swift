// LoginProgram.swift — the hook `auth`: a program of any language that says who may log in, over HTTP or a Unix socket.
//
// Guarantees: never fails open: no answer, a late one, and one that cannot be used let nobody in, and nobody is refused for them;
// an answer is believed for as long as it says itself, and by a hash alone; a program that does not answer is left alone for a while.

package import Config
package import HTTPClient
import JSON
package import Log
import Mail
import OpenSSL
import Synchronization

/// One section of `hooks.ini` with `auth` among its hooks.
package final class LoginProgram: LoginSource {
    /// Bytes of an answer.
    private static let mostAnswerBytes = 64 << 10
    /// Seconds that an answer is believed at most; a refusal shorter.
    private static let longestAge = (allowed: 86_400, refused: 60)

    package let name: String
    let endpoint: HookSettings.Endpoint
    package var takesPasswords: Bool { true }
    package var takesTokens: Bool { endpoint.takesTokens }
    private let client: HTTPClient
    private let log: LogSink
    private let breaker: Mutex<Breaker>
    private let cache: Mutex<LoginCache>

    package init(_ endpoint: HookSettings.Endpoint, client: HTTPClient, log: LogSink) {
        (self.endpoint, self.client, self.log) = (endpoint, client, log)
        name = "program \(endpoint.name)"
        breaker = Mutex(Breaker(limit: endpoint.breakerFailures, pause: Int64(endpoint.breakerPause) * 1000))
        var generator = SystemRandomNumberGenerator()
        cache = Mutex(LoginCache(key: (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &generator) }))
    }

    package func judge(_ question: LoginQuestion) -> LoginVerdict {
        let now = Uptime.now()
        let key = cache.withLock { $0.name(question) }
        if let known = cache.withLock({ $0.find(key, at: now) }) { return known }
        guard breaker.withLock({ $0.mayAsk(at: now) }) else {
            return .trouble("\(name) is left alone for a while, because it did not answer")
        }
        do throws(Fault) {
            let (verdict, age) = try Self.read(try ask(question), question, name)
            if breaker.withLock({ $0.succeeded() }) {
                log.write(.notice, "hook program answers again") { $0.add(.plugin, endpoint.name) }
            }
            cache.withLock { $0.keep(key, verdict, for: age, at: now) }
            return verdict
        } catch {
            let opens = breaker.withLock { $0.failed(at: .now()) }
            report(error, opens)
            return .trouble("\(name): \(error.reason)")
        }
    }

    private func ask(_ question: LoginQuestion) throws(Fault) -> [UInt8] {
        var request = HTTPRequest(
            "POST",
            endpoint.url,
            headers: [("Content-Type", "application/json"), ("Accept", "application/json")],
            body: Self.text(of: question).bytes,
            unixSocket: endpoint.unixSocket
        )
        request.maxResponseBytes = Self.mostAnswerBytes
        request.timeout = .seconds(endpoint.timeout)
        do throws(HTTPError) {
            let response = try client.send(request)
            guard response.status == 200 else {
                throw HTTPError(.broken, "the program answered with HTTP status \(response.status)")
            }
            return response.body
        } catch {
            throw Fault(reason: error.text)
        }
    }

    private func report(_ fault: Fault, _ opens: Bool) {
        log.write(opens ? .error : .warning, opens ? "hook program is left alone for a while" : "hook program failed") {
            $0.add(.plugin, endpoint.name)
            $0.add(.hook, "auth")
            $0.add(.reason, fault.reason)
        }
    }
}

// MARK: - Words

extension LoginProgram {
    /// Why an answer cannot be used, or did not come.
    struct Fault: Error, JSONRefusal {
        let reason: String

        init(reason: String) { self.reason = reason }

        init(_ issues: [JSONIssue]) {
            let words = issues.map { "\($0.pointer) \($0.message)" }.joined(separator: "; ")
            reason = "the answer is not the JSON that is expected: \(words)"
        }
    }

    /// The question as JSON.
    static func text(of question: LoginQuestion) -> JSON {
        var value: JSON = [
            "hook": "auth",
            "user": .string(question.user),
            "mechanism": .string(question.mechanism),
            "client_ip": .optional(question.client.map { "\($0)" }),
            "listener": .string(question.listener),
            "tls": .bool(question.isSecure),
        ]
        let name = if case .password = question.proof { "password" } else { "token" }
        if let text = String(validating: question.proof.bytes, as: UTF8.self) {
            value[name] = .string(text)
        } else {
            value["\(name)_base64"] = .string(Base64.encode(question.proof.bytes))
        }
        return value
    }

    /// Reads an answer.
    ///
    /// - Returns: the verdict, and for how many seconds it may be believed.
    static func read(
        _ bytes: [UInt8],
        _ question: LoginQuestion,
        _ source: String
    ) throws(Fault) -> (verdict: LoginVerdict, age: Int) {
        guard let value = try? JSON(parsing: bytes) else { throw Fault(reason: "the answer is no JSON") }
        var object = try ObjectReader<Fault>(value, at: "")
        let result = try object.string("result")
        let reason = try object.string("reason", atMost: 200) ?? ""
        let age = try object.integer("max_age", 0...Int(Int32.max)) ?? 0
        let user = try object.string("user", atMost: 255)
        let senders = object.take("senders")
        try object.finish()
        switch result {
        case "allow":
            let name = user ?? question.user
            guard !name.isEmpty else { throw Fault(reason: "the answer allows a login without saying whose it is") }
            let grant = LoginGrant(user: name, constraint: try constraint(senders), source: source)
            return (.allowed(grant), min(age, longestAge.allowed))
        case "deny":
            return (
                .refused(reason.isEmpty ? "\(source) denies it" : "\(source): \(reason)"), min(age, longestAge.refused)
            )
        case "temporary": return (.trouble(reason.isEmpty ? "\(source) cannot tell" : "\(source): \(reason)"), 0)
        case "next": return (.unknown, min(age, longestAge.refused))
        default: throw Fault(reason: "/result is none of allow, deny, temporary, next")
        }
    }

    private static func constraint(_ senders: JSON?) throws(Fault) -> SenderConstraint? {
        switch senders {
        case nil, .null?: return nil
        case .array(let items)?:
            var patterns: [String] = []
            for item in items.prefix(1000) {
                guard let pattern = item.string.flatMap(SenderConstraint.pattern) else {
                    throw Fault(reason: "/senders has something that is neither an address nor a domain")
                }
                patterns.append(pattern)
            }
            return .only(patterns)
        default: throw Fault(reason: "/senders is no array")
        }
    }
}

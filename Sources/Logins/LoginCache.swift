// LoginCache.swift — what a program said of logins, for as long as it said that may be believed. A value; time is passed in.
//
// Guarantees: no password is kept, only a keyed hash of it with everything else that was asked, under a key that this process made
// up and tells nobody; memory is bounded.

import Mail
import OpenSSL

/// Verdicts by what was asked.
struct LoginCache: Sendable {
    private struct Kept {
        let verdict: LoginVerdict
        let until: Uptime
    }

    private let capacity: Int
    private let key: [UInt8]
    private var kept: [[UInt8]: Kept] = [:]

    /// - Parameter key: random octets.
    init(capacity: Int = 4096, key: [UInt8]) { (self.capacity, self.key) = (capacity, key) }

    /// What a question is known by.
    func name(_ question: LoginQuestion) -> [UInt8] {
        var bytes: [UInt8] = []
        // Each part behind its length, so that no two questions look alike.
        func add(_ part: some Collection<UInt8>) {
            withUnsafeBytes(of: UInt32(clamping: part.count).bigEndian) { bytes += $0 }
            bytes += part
        }
        add(question.user.utf8)
        add(question.mechanism.utf8)
        add((question.client?.description ?? "").utf8)
        add(question.listener.utf8)
        add([question.isSecure ? 1 : 0])
        add(question.proof.bytes)
        return KeyedHash.hmac(.sha256, key: key, message: bytes)
    }

    /// What was said, where it still holds.
    func find(_ name: [UInt8], at now: Uptime) -> LoginVerdict? {
        guard let found = kept[name], found.until > now else { return nil }
        return found.verdict
    }

    /// Remembers an answer.
    ///
    /// - Parameter age: seconds.
    mutating func keep(_ name: [UInt8], _ verdict: LoginVerdict, for age: Int, at now: Uptime) {
        guard age > 0 else { return }
        if kept.count >= capacity { kept = kept.filter { $0.value.until > now } }
        if kept.count >= capacity { kept.removeAll() }
        kept[name] = Kept(verdict: verdict, until: now.adding(milliseconds: Int64(age) * 1000))
    }
}

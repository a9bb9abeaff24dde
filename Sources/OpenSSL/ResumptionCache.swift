// ResumptionCache.swift — sessions a client may resume, by host and by what was checked of the host.
//
// Guarantees: a session is resumed only where the same check is asked for, since resuming checks nothing; never more
// than so many hosts and sessions; a session of TLS 1.3 is used once (RFC 8446 §C.4).

internal import COpenSSL
import Synchronization

/// A session with what was verified when it began.
///
/// Sendable: OpenSSL counts references to an SSL_SESSION atomically and changes none that is established.
final class ResumableSession: @unchecked Sendable {  // The pointer is constant, what it points to is reference counted.
    let pointer: OpaquePointer
    let verified: TLSSummary.Verified

    /// Takes over one reference.
    init(_ pointer: OpaquePointer, verified: TLSSummary.Verified) {
        self.pointer = pointer
        self.verified = verified
    }

    deinit { SSL_SESSION_free(pointer) }
}

/// Safe from any thread.
final class ResumptionCache: Sendable {
    /// Whom a session is with, and what was demanded of them.
    struct Key: Hashable, Sendable {
        let peer: String
        let check: PeerCheck
    }

    private static let (hosts, sessionsPerHost) = (4096, 8)

    private let entries = Mutex<[Key: [ResumableSession]]>([:])

    func put(_ session: ResumableSession, for key: Key) {
        entries.withLock { entries in
            if entries[key] == nil, entries.count >= Self.hosts, let other = entries.keys.first { entries[other] = nil }
            // Out of the dictionary and back, so that the array is changed in place.
            var sessions = entries[key].take() ?? []
            if sessions.count >= Self.sessionsPerHost { sessions.removeFirst() }
            sessions.append(session)
            entries[key] = sessions
        }
    }

    /// The youngest session; one of TLS 1.3 is taken out.
    func take(for key: Key) -> ResumableSession? {
        entries.withLock { entries in
            guard let session = entries[key]?.last else { return nil }
            if SSL_SESSION_get_protocol_version(session.pointer) == TLS1_3_VERSION {
                entries[key]?.removeLast()
                if entries[key]?.isEmpty == true { entries[key] = nil }
            }
            return session
        }
    }

    /// Sessions with this peer failed: none of them is tried again.
    func forget(_ key: Key) { entries.withLock { $0[key] = nil } }

    var count: Int { entries.withLock { $0.values.reduce(0) { $0 + $1.count } } }
}

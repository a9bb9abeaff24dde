// PostTerms.swift — a session with a host that takes mail over HTTPS: a pair of sockets, and the gate at its other end.

import Config
import Departure
import Glibc
import Mail
import NIOCore
import NIOPosix

/// What a session needs whose mail is posted.
struct PostTerms: Sendable {
    let login: PostLogin
    let office: PostOffice
    let me: Domain
    /// Seconds for an answer of the API; the session waits a little longer.
    let timeout: Int

    /// Opens both ends.
    ///
    /// - Parameter bootstrap: makes the session's end.
    func connect(_ bootstrap: ClientBootstrap, on loop: any EventLoop) throws -> EventLoopFuture<any Channel> {
        var ends: (Int32, Int32) = (-1, -1)
        let code = withUnsafeMutableBytes(of: &ends) { bytes in
            socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, bytes.bindMemory(to: Int32.self).baseAddress)
        }
        guard code == 0 else { throw IOError(errnoCode: errno, reason: "socketpair") }
        let (near, far) = ends
        let terms = self
        _ = ClientBootstrap(group: loop).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(
                    PostGate(terms.login, terms.office, me: terms.me, timeout: .seconds(terms.timeout))
                )
            }
        }.withConnectedSocket(far)
        // Where one end closes, the other one hears of it.
        return bootstrap.withConnectedSocket(near)
    }
}

extension LaneOpener {
    /// The longest wait for an API, seconds.
    private static let patience = 120

    /// What mail for a host is posted with; nil: the host speaks SMTP.
    ///
    /// - Throws: when nobody here posts.
    func postTerms(_ mx: MX, _ me: Domain) throws(Failure) -> PostTerms? {
        guard mx.api != nil else { return nil }
        guard let office, let login = PostLogin(mx) else {
            throw Failure(
                .destination,
                at: .route,
                Reply(451, EnhancedStatus(4, 3, 5), "\(mx) cannot be posted to here")
            )
        }
        let seconds = max(1, min(Self.patience, settings.outbound.dataDoneTimeout - 1))
        return PostTerms(login: login, office: office, me: me, timeout: seconds)
    }
}

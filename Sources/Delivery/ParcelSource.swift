// ParcelSource.swift — what an open session sees of the queue. Called on the session's event loop; nothing here waits.

import Mail
import Queue
import SMTP

/// Work for sessions, and where its outcomes go.
protocol ParcelSource: AnyObject {
    /// The session is greeted and ready for the first time.
    func stands(_ session: ClientHandler)

    /// What the session should carry now.
    func next(for session: ClientHandler) -> NextParcel

    /// A session that is ready found nothing: it may be woken with ``ClientHandler/pull()``.
    func idles(_ session: ClientHandler)

    /// An administrator should know.
    func warns(_ warning: ClientMachine.Warning, from session: ClientHandler)

    /// A transaction is over: an outcome per recipient that was offered, nil for one that was not tried.
    func finished(_ attempt: Attempt, _ outcomes: [Outcome?], by session: ClientHandler)

    /// The session is gone and carries nothing any more.
    func ended(_ session: ClientHandler)
}

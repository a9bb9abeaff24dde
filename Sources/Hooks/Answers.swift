// Answers.swift — what a plugin may answer to each hook. An answer that would make no sense cannot be written.
//
//     queue_outbound   CONT / OK / DENY…          .next / .edit(changes) / .taken / .reject(reply)
//     connect, mail, rcpt   CONT / OK / DENY…    .next / .reject(reply)
//     send_email       CONT / DELAY, seconds      .next / .delay
//     get_mx           CONT / OK, mx / DENY / DENYSOFT    .next / .use([MX]) / .reject / .tryLater
//     deferred         CONT / OK / DENYSOFT, s    .next / .drop / .delay
//     bounce           CONT / OK                  .next / .suppress

package import Mail

/// Before a message is queued.
package enum QueueOutboundAnswer: Hashable, Sendable {
    case next
    /// As ``next``, with changes.
    case edit(MessageEdits)
    /// The plugin has seen to the message itself: the client gets its 250, nothing is queued.
    case taken
    /// The client gets this reply, 4xx or 5xx.
    case reject(Reply)
}

/// While a client connects, names a sender, or a recipient.
package enum ReceptionAnswer: Hashable, Sendable {
    case next
    /// The client gets this reply, 4xx or 5xx; one that has just connected is sent away.
    case reject(Reply)
}

/// Before a parcel is attempted.
package enum SendEmailAnswer: Hashable, Sendable {
    case next
    /// Not now; does not count as a failure.
    case delay(Duration)
}

/// Where to send a parcel.
package enum GetMXAnswer: Hashable, Sendable {
    /// The route table, then the DNS.
    case next
    /// These hosts, by priority; an empty list is as good as ``next``.
    case use([MX])
    /// Bounce, with this reason.
    case reject(String)
    /// A temporary failure, with this reason.
    ///
    /// `counts` is false when nobody has answered: that is no failure of the mail, which waits as long as it takes.
    case tryLater(String, counts: Bool = true)
}

/// After a temporary failure.
package enum DeferredAnswer: Hashable, Sendable {
    case next
    /// Forget these recipients; nobody is told.
    case drop
    /// Try again after this long instead.
    case delay(Duration)
}

/// After a permanent failure.
package enum BounceAnswer: Hashable, Sendable {
    case next
    /// The sender gets no report.
    case suppress
}

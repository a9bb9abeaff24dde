// Rejection.swift — why mail was not taken, as a closed set that can be counted.

package import Mail

/// Why a message, or a recipient of a client that may not relay, was refused.
package enum Rejection: String, CaseIterable, Sendable {
    case relayDenied = "relay_denied"
    case tooLarge = "too_large"
    case headerTooLarge = "header_too_large"
    case tooManyHops = "loop"
    case bareLineEnding = "bare_line_ending"
    case noRoom = "full"
    case storageFailed = "storage"
    case tooSlow = "storage_slow"
    /// A `From` that the login may not use.
    case foreignAuthor = "author"
    /// Storage is shutting down.
    case closing
    case noRecipients = "no_recipients"
    /// By a plugin, whose reply has a code of its own.
    case plugin
    /// By a milter, in its words.
    case milter
    /// By a section of the route table that says `reject`, in its words.
    case route
    /// More than a limit allows, or of a login that is parked; in words of their own.
    case limited
    /// It is at an address for reports and is none, in words that say why.
    case report

    /// What the client hears; those of a plugin, a milter, a route and a report are never asked for, their words are their own.
    var reply: CannedReply {
        switch self {
        case .relayDenied: .relayDenied
        case .tooLarge: .tooLarge
        case .headerTooLarge: .headerTooLarge
        case .tooManyHops: .tooManyHops
        case .bareLineEnding: .bareInContent
        case .noRoom: .noRoom
        case .storageFailed, .plugin, .milter, .route, .limited, .report: .storageFailed
        case .tooSlow: .commitTimeout
        case .foreignAuthor: .notYourAuthor
        case .closing: .shuttingDown
        case .noRecipients: .noRecipients
        }
    }

    /// Its reply is not always the same.
    package var hasOwnWords: Bool { [.plugin, .milter, .route, .limited, .report].contains(self) }

    /// What a client of SMTP hears, for whoever came in by another way.
    package var answer: Reply { reply.reply }

    /// The code that the client hears; nil where it is not always the same.
    package var code: String? { hasOwnWords ? nil : String(reply.description.prefix(3)) }
}

// Mending.swift — what was put right in mail of old clients and of this machine's own programs.

/// The kinds of things that were put right in one message; each is counted and named in the log.
package struct Mending: OptionSet, Hashable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }

    /// A path without its angle brackets, with a name in front of them, or without the colon before it.
    package static let brackets = Mending(rawValue: 1)
    /// A local part with a dot too many, `a..b@` or `a.@`: quoted, which is the same address written as it has to be.
    package static let dots = Mending(rawValue: 2)
    /// An address without a domain, in envelope or header.
    package static let domain = Mending(rawValue: 4)
    /// Lines that ended in LF alone.
    package static let lineEnds = Mending(rawValue: 8)
    /// `Bcc` stood in the header.
    package static let secret = Mending(rawValue: 16)
    /// The header began with a line of a mailbox file.
    package static let mailbox = Mending(rawValue: 32)
    /// A sender of this machine became ``LocalMail/sender``.
    package static let sender = Mending(rawValue: 64)
    /// A recipient of this machine was one of the `aliases`.
    package static let alias = Mending(rawValue: 128)
    /// An address was rewritten by `rewrite.ini`.
    package static let rewritten = Mending(rawValue: 256)

    /// Every kind and its name, in metrics and log.
    package static let kinds: [(kind: Mending, name: String)] = [
        (.brackets, "brackets"), (.dots, "dots"), (.domain, "domain"), (.lineEnds, "line_ends"), (.secret, "bcc"),
        (.mailbox, "mailbox_line"), (.sender, "sender"), (.alias, "alias"), (.rewritten, "rewritten"),
    ]

    /// The names, with commas between them.
    package var names: String { Self.kinds.filter { contains($0.kind) }.map(\.name).joined(separator: ",") }
}

// SecretReference.swift — what stands where a secret belongs: the secret itself, or the name of a place that holds it.
//
// The one rule for all who write such a value and for the one who reads it, on octets. Guarantee: what a hook program or
// the API gives is never read from a file or a variable that the administrator did not put aside for it: whoever may edit
// routes could have any file sent to a host of his own as a password.

import Mail

/// A secret as it is written.
package enum SecretReference: Hashable, Sendable {
    /// The secret itself.
    case plain(String)
    /// `@file:PATH`: the one line of a file.
    case file(String)
    /// `@env:NAME`: the value of a variable.
    case variable(String)

    /// Who wrote it.
    package enum Author: Hashable, Sendable {
        /// Whoever may write files into the configuration directory.
        case administrator
        /// Whoever has a token for the API.
        case client
        /// A hook program.
        case program
    }

    /// The directory of files that clients of the API may name.
    package static let directory = "secrets/"

    /// Reads a value; every text is one of the three.
    package init(_ text: some StringProtocol) {
        if let path = text.rest(behind: "@file:") {
            self = .file(String(path))
        } else if let name = text.rest(behind: "@env:") {
            self = .variable(String(name))
        } else {
            self = .plain(String(text))
        }
    }

    /// Says where a secret is, and holds none.
    package var isElsewhere: Bool {
        if case .plain = self { false } else { true }
    }

    /// Whether its author may write such a thing.
    ///
    /// - Throws: ``ValueError`` with the remedy, and without any secret.
    package func check(from author: Author) throws(ValueError) {
        switch (self, author) {
        case (.plain, _), (_, .administrator): return
        case (_, .program): throw ValueError("@file: and @env: stand in routes.ini only")
        case (.variable, .client):
            throw ValueError(
                "@env: stands in routes.ini only; put the secret into a file below secrets/ and give @file:secrets/NAME"
            )
        case (.file(let path), .client):
            guard path.starts(withOctets: Self.directory), !path.contains(octet: "\0"),
                !path.split(octet: "/").contains(where: { $0.isSame(octets: "..") })
            else { throw ValueError("@file: names a file below secrets/ in the configuration directory") }
        }
    }
}

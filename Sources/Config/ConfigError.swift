// ConfigError.swift — what is wrong with the configuration, and where.

/// One thing wrong in one file.
///
/// Printed as `smtp.ini:12: reason`.
package struct ConfigError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The file's name within the configuration directory.
    package let file: String
    /// Counted from 1; nil when the trouble is with the file as a whole.
    package let line: Int?
    package let reason: String

    package init(file: String, line: Int? = nil, reason: String) {
        self.file = file
        self.line = line
        self.reason = reason
    }

    package var description: String {
        line.map { "\(file):\($0): \(reason)" } ?? "\(file): \(reason)"
    }
}

/// Everything that is wrong at once, so that one run of `martlet check` is enough.
package struct ConfigErrors: Error, Hashable, Sendable, CustomStringConvertible {
    /// At least one, in the order of files and lines.
    package let errors: [ConfigError]

    package init(_ errors: [ConfigError]) { self.errors = errors }

    package var description: String { errors.map(\.description).joined(separator: "\n") }
}

/// Why a value was refused, before it is known in which file and line it stood.
package struct ValueError: Error, Hashable, Sendable {
    /// A sentence, without any secret.
    package let reason: String

    init(_ reason: String) { self.reason = reason }
}

// Terminal.swift — what standard output is: how wide, and whether colours are welcome (no-color.org).

import Glibc
import Process

/// Where answers for people go.
package struct Terminal: Sendable {
    /// Columns that a line may have; nil for files and pipes, whose readers want everything.
    package let width: Int?
    private let isColourful: Bool

    /// What a terminal is taken for that does not say.
    private static let usual = 80
    private static let narrowest = 40

    /// - Parameters:
    ///   - columns: of a terminal; nil: it is none.
    ///   - variables: of the environment.
    package init(columns: Int?, variables: [String: [UInt8]]) {
        func word(_ name: String) -> String {
            variables[name].map { String(decoding: $0, as: UTF8.self) } ?? ""
        }
        width = (Int(word("COLUMNS")) ?? columns).map { max($0 > 0 ? $0 : Self.usual, Self.narrowest) }
        isColourful = columns != nil && word("NO_COLOR").isEmpty && word("TERM") != "dumb"
    }

    /// Standard output.
    package static func ofThisProcess() -> Terminal {
        guard isatty(STDOUT_FILENO) == 1 else { return Terminal(columns: nil, variables: [:]) }
        var size = winsize()
        let isKnown = ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
        return Terminal(columns: isKnown ? Int(size.ws_col) : usual, variables: ProcessEnvironment.all())
    }

    /// A word that somebody should see.
    package func bad(_ text: String) -> String { painted(text, "31") }
    /// A word that says that all is well.
    package func good(_ text: String) -> String { painted(text, "32") }

    private func painted(_ text: String, _ code: String) -> String {
        isColourful ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
    }
}

// LoginSources.swift — everybody who can say who may log in, in order; a source whose settings did not change keeps its memory.

package import Config
import HTTPClient
package import Log
import Mail
import Synchronization

/// The sources now.
package final class LoginSources: Sendable {
    private let client = HTTPClient()
    private let log: LogSink
    private let sources = Mutex<[any LoginSource]>([])

    private let readFile: @Sendable (String) -> [UInt8]?

    /// - Parameter readFile: the octets of a file that the settings name; nil where there is none.
    package init(log: LogSink, readFile: @escaping @Sendable (String) -> [UInt8]? = { _ in nil }) {
        (self.log, self.readFile) = (log, readFile)
    }

    /// Puts settings in force.
    package func apply(_ settings: Settings) {
        sources.withLock { sources in
            let programs = sources.compactMap { $0 as? LoginProgram }
            let issuers = sources.compactMap { $0 as? TokenIssuer }
            let directories = sources.compactMap { $0 as? LoginDirectory }
            // Issuers first: a token that is theirs is nobody else's business.
            sources = settings.logins.issuers.map { issuer in
                issuers.first { $0.settings == issuer }
                    ?? TokenIssuer(issuer, client: client, log: log, readFile: readFile)
            }
            sources += settings.hooks.endpoints.filter(\.answersLogins).map { endpoint in
                programs.first { $0.endpoint == endpoint } ?? LoginProgram(endpoint, client: client, log: log)
            }
            sources += settings.logins.directories.map { directory in
                directories.first { $0.settings == directory } ?? LoginDirectory(directory, log: log)
            }
        }
    }

    private var current: [any LoginSource] { sources.withLock { $0 } }

    /// Somebody can be asked about passwords.
    package var takesPasswords: Bool { current.contains { $0.takesPasswords } }

    /// Somebody can be asked about access tokens.
    package var takesTokens: Bool { current.contains { $0.takesTokens } }

    /// Whether a source is still there.
    package func has(_ name: String) -> Bool { current.contains { $0.name.isSame(octets: name) } }

    /// Asks one after another until somebody knows.
    ///
    /// Blocks. Trouble with one ends it: the next one may know less.
    package func judge(_ question: LoginQuestion) -> LoginVerdict {
        for source in current {
            switch question.proof {
            case .password: guard source.takesPasswords else { continue }
            case .token: guard source.takesTokens else { continue }
            }
            let verdict = source.judge(question)
            if verdict != .unknown { return verdict }
        }
        return .unknown
    }
}

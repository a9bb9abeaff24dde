// DropIn.swift — the commands that scripts, cron and PHP know: which one this is, by the name it was called with.

import Glibc
import Mail

/// Where mail is handed in, and how we are called.
package struct SubmissionPlace: Sendable {
    /// An address of `smtp.ini`'s `listen`.
    package let address: String
    package let port: UInt16
    /// Our host name: in EHLO, and behind senders and recipients that have no domain.
    package let hostName: String
    /// TLS begins with the first octet.
    package let isTLS: Bool

    package init(address: String, port: UInt16, hostName: String, isTLS: Bool = false) {
        self.address = address
        self.port = port
        self.hostName = hostName
        self.isTLS = isTLS
    }
}

/// One of Postfix's commands, as far as scripts use them.
package enum DropIn: String {
    case sendmail, mailq, postqueue, postsuper, newaliases

    /// - Parameter program: the name or path this executable was started with.
    package init?(program: String) {
        self.init(rawValue: String(program.split(octet: "/").last ?? ""))
    }

    /// Runs it.
    ///
    /// - Parameter place: asked only by those that hand mail in.
    /// - Returns: the exit status, of sysexits.h.
    package func run(_ arguments: [String], place: () -> SubmissionPlace) -> Int32 {
        do {
            switch self {
            case .sendmail: return try Sendmail(arguments).run(place)
            case .mailq: try PostQueue.list()
            case .postqueue: try PostQueue.run(arguments)
            case .postsuper: try PostSuper.run(arguments)
            // The relay reads `aliases` when it changes.
            case .newaliases: break
            }
            return 0
        } catch let error as OperatorError {
            Output.complain(error.description, by: rawValue)
            return error.status
        } catch {
            Output.complain("\(error)", by: rawValue)
            return EX_SOFTWARE
        }
    }
}

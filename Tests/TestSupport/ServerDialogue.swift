// ServerDialogue.swift — runs the dialogues of `Tests/Dialogues/server` against whatever can be talked to.
//
// Directives, all read before the session begins:
//     ! errors 3 | idle_commands 3 | recipients 2 | message_bytes 100 | command_bytes 80
//     ! untrusted            the client may not relay
//     ! no_room              the disk is full
//     ! commit full|broken|closing|late   what becomes of messages
//     ! user alice secret    somebody who may authenticate, by PLAIN, LOGIN and CRAM-MD5
//     ! tokens               by XOAUTH2 and OAUTHBEARER instead of CRAM-MD5: the password is the token
//     ! constrain            the sender has to be the login
//     ! needs_tls            authentication asks for encryption first
//     ! tls                  STARTTLS is offered
//     ! tls_broken           STARTTLS is offered, and there is no TLS when it comes to it
//     ! claims               XCLIENT and XFORWARD are offered; who is told to be on loopback may relay (machine only)
//     ! early                the client speaks before the greeting
//     ! machine              for the bare machine only
// Directives that are steps:
//     ! closed               the server has closed the connection
//     ! drain                the relay begins to shut down (machine only)
//     ! timeout              a time limit has passed (machine only)
//     ! handshake            the TLS handshake is over (machine only)
// Expectations:
//     > queued 1             so many messages were accepted so far
//     > message a@b > c@d,e@f : text\r\n      the last one, with \r \n \0 \xHH as escapes

import Mail
package import NIOCore
package import SMTP

/// What a dialogue wants the world to be like.
package struct DialogueSetup: Sendable {
    package var limits = Limits(commandBytes: 512, messageBytes: 10_000, recipients: 10, errors: 20, idleCommands: 100)
    package var mayRelay = true
    package var hasRoom = true
    package var spokeEarly = false
    package var isForMachineOnly = false
    /// `queued`, or what becomes of messages instead.
    package var commit = "queued"

    /// Names and passwords.
    package var users: [String: String] = [:]
    package var constrainsSender = false
    package var needsTLS = false
    package var takesTokens = false
    package var offersTLS = false
    package var isTLSBroken = false
    package var offersClaims = false

    /// What the server is to offer with these users.
    package var offer: AuthOffer {
        AuthOffer(
            mechanisms: users.isEmpty || needsTLS
                ? [] : [.plain, .login] + (takesTokens ? [.xoauth2, .oauthBearer] : [.cramMD5, .scramSHA256]),
            needsTLS: needsTLS,
            constraint: constrainsSender ? .login : .none
        )
    }

    package init() {}

    package init(_ dialogue: Dialogue) throws {
        for line in dialogue.lines {
            guard case .directive(let name, let argument) = line.step else { continue }
            let number = Int(argument) ?? 0
            switch name {
            case "errors": limits.errors = number
            case "idle_commands": limits.idleCommands = number
            case "recipients": limits.recipients = number
            case "message_bytes": limits.messageBytes = number
            case "command_bytes": limits.commandBytes = number
            case "untrusted": mayRelay = false
            case "no_room": hasRoom = false
            case "commit": commit = argument
            case "user":
                let words = argument.split(separator: " ", maxSplits: 1).map(String.init)
                if words.count == 2 { users[words[0]] = words[1] }
            case "constrain": constrainsSender = true
            case "needs_tls": needsTLS = true
            case "tokens": takesTokens = true
            case "tls": offersTLS = true
            case "tls_broken": (offersTLS, isTLSBroken) = (true, true)
            case "early": spokeEarly = true
            case "lenient":
                limits.isLenient = true
                limits.local = LocalMail(me: Domain(unchecked: "relay.example"))
            case "local":
                let sender = argument.isEmpty ? nil : EmailAddress(argument)
                limits.local = LocalMail(me: Domain(unchecked: "relay.example"), sender: sender)
            case "claims": (offersClaims, isForMachineOnly) = (true, true)
            case "machine": isForMachineOnly = true
            case "closed", "drain", "timeout", "handshake": break
            default: throw TestFileError("\(dialogue.name):\(line.number)", "unknown directive \(name)")
            }
        }
    }
}

/// Something that talks as our server does.
package protocol DialogueServer: AnyObject {
    func send(_ bytes: ByteBuffer) throws
    /// The next line without its CRLF; nil when none comes.
    func line() throws -> String?
    /// Nothing more comes, and the server has closed.
    func isClosed() throws -> Bool
    /// A directive that is a step.
    func direct(_ name: String) throws
    /// Accepted messages, each as `sender > recipients : body`.
    func messages() -> [String]
}

extension Dialogue {
    /// Plays the client and compares what the server says.
    ///
    /// - Returns: what differed, one line each; empty when nothing did.
    package func play(to server: any DialogueServer) throws -> [String] {
        var differences: [String] = []
        var index = 0
        while index < lines.count {
            let place = "\(name):\(lines[index].number)"
            switch lines[index].step {
            case .client(var bytes):
                while index + 1 < lines.count, case .client(var more) = lines[index + 1].step {
                    bytes.writeBuffer(&more)
                    index += 1
                }
                try server.send(bytes)
            case .server(let pattern):
                guard let line = try server.line() else {
                    return differences + ["\(place): expected “\(pattern)”, the server says nothing"]
                }
                if !Dialogue.matches(pattern, line) {
                    differences.append("\(place): expected “\(pattern)”, got “\(line)”")
                }
            case .directive("closed", _):
                if try !server.isClosed() { differences.append("\(place): not closed") }
            case .directive(let name, _):
                if ["drain", "timeout", "handshake"].contains(name) { try server.direct(name) }
            case .action(let text):
                let got =
                    text.hasPrefix("queued") ? "queued \(server.messages().count)" : server.messages().last ?? "none"
                let expected = text.hasPrefix("message ") ? String(text.dropFirst("message ".count)) : text
                if got != expected { differences.append("\(place): expected “\(expected)”, got “\(got)”") }
            }
            index += 1
        }
        return differences
    }

    /// A body as dialogues write it.
    package static func escape(_ bytes: ByteBuffer) -> String {
        var text = ""
        for byte in bytes.readableBytesView {
            switch byte {
            case 13: text += "\\r"
            case 10: text += "\\n"
            case 0: text += "\\0"
            case 0x20...0x7E: text += String(Unicode.Scalar(byte))
            default: text += "\\x" + String(byte, radix: 16, uppercase: true)
            }
        }
        return text
    }
}

// Sendmail.swift — `sendmail -t -i` and its kin: a message on standard input, handed to the relay over SMTP.
//
// The flags are those that PHP, cron, mail(1) and git send-email use; others that begin with -o are passed over, as every
// sendmail does. Anybody on this machine may use it, like any SMTP client on loopback; it needs no rights of its own.

import Glibc
import JSON
import Process

/// A call of sendmail.
struct Sendmail {
    private enum Mode { case deliver, smtp, list, flush }

    private var mode = Mode.deliver
    private var takesRecipientsFromHeader = false
    private var ignoresDots = false
    private var sender: String?
    private var fullName: String?
    private var recipients: [String] = []

    /// Flags whose value may stand in the next argument.
    private static let withValue = Set("fFrBNRVhLOXCpAD")

    /// - Throws: with EX_USAGE for flags that would change what becomes of the mail.
    init(_ arguments: [String]) throws {
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            guard argument.hasPrefix("-"), argument.count > 1 else {
                recipients += AddressList.addresses(in: argument)
                continue
            }
            if argument == "--" {
                recipients += rest.flatMap { AddressList.addresses(in: $0) }
                break
            }
            let flag = argument[argument.index(after: argument.startIndex)]
            var value = String(argument.dropFirst(2))
            if Self.withValue.contains(flag), value.isEmpty { value = rest.popFirst() ?? "" }
            try take(flag, value)
        }
    }

    private mutating func take(_ flag: Character, _ value: String) throws {
        switch flag {
        case "f", "r": sender = value
        case "F": fullName = value
        case "t": takesRecipientsFromHeader = true
        case "i": ignoresDots = true
        case "o": if value == "i" { ignoresDots = true }
        case "q": mode = .flush
        case "b":
            switch value {
            case "m": mode = .deliver
            case "p": mode = .list
            case "s": mode = .smtp
            case "i": break
            default: throw OperatorError("-b\(value) is not for this program; see martlet(1)", status: EX_USAGE)
            }
        default:
            // `-ti` and the like: letters without values in one word.
            if "nvGUmsec".contains(flag) || flag == "B" || flag == "N" || Self.withValue.contains(flag) { break }
            throw OperatorError("unknown option -\(flag)", status: EX_USAGE)
        }
        if flag == "t" || flag == "i" { for letter in value { try take(letter, "") } }
    }

    func run(_ place: () -> SubmissionPlace) throws -> Int32 {
        switch mode {
        case .list: try PostQueue.list()
        case .flush: try Postfix.relay().ask("POST", "/v1/queue/flush", body: [:])
        case .smtp: try Submission(place()).passThrough()
        case .deliver: return try deliver(place())
        }
        return 0
    }

    private func deliver(_ place: SubmissionPlace) throws -> Int32 {
        var message = MessageText(Output.readAll(), endsAtDot: !ignoresDots)
        var to = recipients
        if takesRecipientsFromHeader {
            for name in ["to", "cc", "bcc"] { to += message.values(of: name).flatMap(AddressList.addresses) }
        }
        message.remove("bcc")
        let from = sender.map { AddressList.addresses(in: $0).first ?? "" } ?? Self.userName()
        let full = { (address: String) in
            address.isEmpty || address.contains("@") ? address : "\(address)@\(place.hostName)"
        }
        guard !to.isEmpty else { throw OperatorError("no recipients", status: EX_USAGE) }
        if message.values(of: "from").isEmpty {
            let address = from.isEmpty ? full("MAILER-DAEMON") : full(from)
            let name = (fullName ?? "").filter { $0 != "\"" && $0 != "\\" && !$0.isNewline }
            message.add("From", name.isEmpty ? address : "\"\(name)\" <\(address)>")
        }
        var seen: Set<String> = []
        let unique = to.map(full).filter { seen.insert($0).inserted }
        let refused = try Submission(place).send(message.bytes, from: full(from), to: unique)
        for (address, reply) in refused { Output.complain("\(address): \(reply)", by: "sendmail") }
        return refused.isEmpty ? 0 : EX_NOUSER
    }

    /// Who calls: the name of the user, as the sender.
    private static func userName() -> String {
        var entry = passwd()
        var room = [CChar](repeating: 0, count: 4096)
        var found: UnsafeMutablePointer<passwd>?
        guard getpwuid_r(getuid(), &entry, &room, room.count, &found) == 0, found != nil, let name = entry.pw_name
        else {
            return ProcessEnvironment.all()["USER"].map { String(decoding: $0, as: UTF8.self) } ?? "nobody"
        }
        return String(cString: name)
    }
}

// Sendmail.swift — `sendmail -t -i` and its kin: a message on standard input, handed to the relay over SMTP.
//
// The flags are those that PHP, cron, mail(1) and git send-email use; others that begin with -o are passed over, as every
// sendmail does. Anybody on this machine may use it, like any SMTP client on loopback; it needs no rights of its own. What
// a message and an address are, MessageFormat says, as for every other way in.

import Glibc
import JSON
import Mail
import MessageFormat
import Process

/// A call of sendmail.
struct Sendmail {
    private enum Mode { case deliver, smtp, list, flush }

    private var mode = Mode.deliver
    private var takesRecipientsFromHeader = false
    private var ignoresDots = false
    private var sender: String?
    private var fullName: String?
    private var recipients: [AddressList.Entry] = []

    /// Flags whose value may stand in the next argument.
    private static let withValue = Set("fFrBNRVhLOXCpAD".utf8)

    /// - Throws: with EX_USAGE for flags that would change what becomes of the mail, and for what is no address.
    init(_ arguments: [String]) throws {
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            let bytes = argument.utf8
            guard bytes.first == UInt8(ascii: "-"), let flag = bytes.dropFirst().first else {
                recipients += try Self.entries(bytes)
                continue
            }
            if bytes.elementsEqual("--".utf8) {
                for word in rest { recipients += try Self.entries(word.utf8) }
                break
            }
            var value = String(decoding: bytes.dropFirst(2), as: UTF8.self)
            if Self.withValue.contains(flag), value.utf8.isEmpty { value = rest.popFirst() ?? "" }
            try take(flag, value)
        }
    }

    private mutating func take(_ flag: UInt8, _ value: String) throws {
        switch flag {
        case UInt8(ascii: "f"), UInt8(ascii: "r"): sender = value
        case UInt8(ascii: "F"): fullName = value
        case UInt8(ascii: "t"): takesRecipientsFromHeader = true
        case UInt8(ascii: "i"): ignoresDots = true
        case UInt8(ascii: "o"): if value == "i" { ignoresDots = true }
        case UInt8(ascii: "q"): mode = .flush
        case UInt8(ascii: "b"):
            switch value {
            case "m": mode = .deliver
            case "p": mode = .list
            case "s": mode = .smtp
            case "i": break
            default: throw OperatorError("-b\(value) is not for this program; see martlet(1)", status: EX_USAGE)
            }
        default:
            if "nvGUmsecBN".utf8.contains(flag) || Self.withValue.contains(flag) { break }
            throw OperatorError("unknown option -\(Unicode.Scalar(flag))", status: EX_USAGE)
        }
        // `-ti` and the like: letters without values in one word.
        if flag == UInt8(ascii: "t") || flag == UInt8(ascii: "i") {
            for letter in value.utf8 { try take(letter, "") }
        }
    }

    /// The addresses in an argument.
    private static func entries(_ text: some Sequence<UInt8>) throws -> [AddressList.Entry] {
        let list = AddressList(text)
        if let fault = list.fault { throw OperatorError("\(fault)", status: EX_USAGE) }
        return list.entries
    }

    /// - Parameter drop: keeps mail while there is no relay; asked only then.
    func run(_ place: () -> SubmissionPlace, drop: () -> Drop? = Drop.ofThisMachine) throws -> Int32 {
        switch mode {
        case .list: try PostQueue.list()
        case .flush: try Postfix.relay().ask("POST", "/v1/queue/flush", body: [:])
        case .smtp: try Submission(place()).passThrough()
        case .deliver:
            let place = place()
            let letter = try letter(Output.readAll(), host: place.hostName)
            do {
                return try Submission(place).send(letter)
            } catch let absence as OperatorError where absence.isAbsence {
                // Without a drop that takes it, whoever calls has to try again, as they always had.
                guard let drop = drop(), (try? drop.keep(letter)) != nil else { throw absence }
            }
        }
        return 0
    }

    /// What is to be sent, of what was piped in.
    ///
    /// - Parameter host: completes addresses that have no domain.
    /// - Throws: with EX_USAGE without recipients, with EX_DATAERR for an address that cannot be read: nothing is sent then.
    func letter(_ input: [UInt8], host: String) throws -> Letter {
        var message = PipedMessage(input, endsAtDot: !ignoresDots)
        var entries = recipients
        if takesRecipientsFromHeader {
            do throws(AddressList.Fault) { entries += try message.recipients() } catch {
                throw OperatorError("the header's recipients: \(error)", status: EX_DATAERR)
            }
        }
        message.removeSecretRecipients()
        var seen: Set<EmailAddress> = []
        let to = try entries.map { try Self.address($0, host) }.filter { seen.insert($0).inserted }
        guard !to.isEmpty else {
            throw OperatorError(
                "no recipients: name them behind the options, or give -t to take those of the header",
                status: EX_USAGE
            )
        }
        let from = try reversePath(host)
        message.completeAddresses(with: try Self.domain(host))
        if message.values(of: "from").isEmpty {
            let author = from == .null ? "MAILER-DAEMON@\(host)" : from.description
            message.addFrom(author, name: fullName ?? "")
        }
        return Letter(from: from, to: to, bytes: message.bytes)
    }

    /// `-f`, or the name of the user who calls.
    private func reversePath(_ host: String) throws -> ReversePath {
        guard let sender else {
            let local = EmailAddress("\(Self.userName())@localhost")?.local ?? "nobody"
            return .address(EmailAddress(local: local, domain: try Self.domain(host)))
        }
        if sender.utf8.isEmpty || sender.utf8.elementsEqual("<>".utf8) { return .null }
        let list = AddressList(sender.utf8)
        guard list.fault == nil, let entry = list.entries.first, list.entries.count == 1 else {
            throw OperatorError("-f: \(Printout.clean(sender)) is no address", status: EX_USAGE)
        }
        return .address(try Self.address(entry, host))
    }

    private static func address(_ entry: AddressList.Entry, _ host: String) throws -> EmailAddress {
        if let address = entry.address { return address }
        guard let local = entry.local else { throw OperatorError("\(entry.name) is no address", status: EX_DATAERR) }
        return EmailAddress(local: local, domain: try domain(host))
    }

    private static func domain(_ host: String) throws -> Domain {
        guard let domain = Domain(host) else {
            throw OperatorError("\(host) is no host name to complete an address with", status: EX_CONFIG)
        }
        return domain
    }

    /// Who calls.
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

// MilterMail.swift — what a milter is told of a message: the client, the envelope, the header, and macros as Postfix names them.

package import Mail
import NIOCore

/// One message, and who hands it in.
package struct MilterMail: Sendable {
    /// One field of the header.
    package struct Field: Hashable, Sendable {
        package let name: [UInt8]
        /// Behind the colon, blanks and folds included, without the last line end.
        package let value: [UInt8]

        package init(name: [UInt8], value: [UInt8]) {
            self.name = name
            self.value = value
        }
    }

    /// The name of the client's host; `unknown` when nobody has looked.
    package var host = "unknown"
    /// Nil: there is no network between us.
    package var address: IPAddress?
    /// The client's port; 0 when it is not known.
    package var port: UInt16 = 0
    package var helo = ""
    package var sender = ReversePath.null
    /// ESMTP arguments of MAIL, as they would stand on the wire.
    package var senderArguments: [String] = []
    package var recipients: [Recipient] = []
    package var fields: [Field] = []
    /// Octets behind the empty line.
    package var bodySize = 0
    /// Values by name: `j`, `{client_addr}`; those of recipients are made here.
    package var macros: [String: String] = [:]

    package init() {}

    /// What a milter is told of the client: messages with the same may follow one another on one connection.
    package var client: Client {
        let told = (Self.usual[.connect] ?? []) + (Self.usual[.helo] ?? [])
        return Client(host: host, address: address, port: port, helo: helo, macros: told.map { macros[$0] })
    }

    /// A client as a milter knows it.
    package struct Client: Hashable, Sendable {
        let host: String
        let address: IPAddress?
        let port: UInt16
        let helo: String
        let macros: [String?]
    }
}

extension MilterMail {
    /// Postfix's lists (`milter_connect_macros` …), and what Sendmail's and ours have beside them.
    private static let usual: [MilterStep: [String]] = [
        .connect: [
            "j", "{daemon_name}", "{daemon_addr}", "{daemon_port}", "v", "_", "{client_addr}", "{client_name}",
            "{client_port}", "{client_ptr}", "{if_addr}",
        ],
        .helo: ["{tls_version}", "{cipher}", "{cipher_bits}", "{cert_subject}", "{cert_issuer}"],
        .mail: [
            "i", "{auth_type}", "{auth_authen}", "{auth_author}", "{mail_addr}", "{mail_host}", "{mail_mailer}",
            "{client_addr}", "{client_name}", "{tls_version}", "{cipher}", "{cipher_bits}",
        ],
        .rcpt: ["i", "{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"],
        .data: ["i"],
        .endOfHeader: ["i"],
        .endOfBody: ["i", "{nrcpts}"],
    ]

    /// Appends the macros of a step; those without a value are left out, as Postfix leaves them out.
    func write(_ step: MilterStep, _ terms: MilterTerms, of recipient: Recipient?, to output: inout ByteBuffer) {
        guard let names = terms.macros[step] ?? Self.usual[step] else { return }
        let pairs = names.compactMap { name in value(name, recipient).map { (name, $0) } }
        output.write(MilterNotice.macros) { output in
            output.writeInteger(step.rawValue)
            for (name, value) in pairs {
                output.writeText(name.utf8)
                output.writeText(value.utf8)
            }
        }
    }

    private func value(_ name: String, _ recipient: Recipient?) -> String? {
        if let value = macros[name] { return value }
        switch name {
        case "{mail_addr}": return sender.bare
        case "{mail_host}": return sender.domain?.name
        case "{rcpt_addr}": return recipient.map { "\($0.address)" }
        case "{rcpt_host}": return recipient?.address.domain.name
        case "{mail_mailer}", "{rcpt_mailer}": return "smtp"
        case "{nrcpts}": return "\(recipients.count)"
        default: return nil
        }
    }

    /// Appends a step's command.
    ///
    /// - Parameter index: of a recipient or a field.
    func write(_ step: MilterStep, _ terms: MilterTerms, _ index: Int, to output: inout ByteBuffer) {
        output.write(step.rawValue) { output in
            switch step {
            case .connect: writeClient(to: &output)
            case .helo: output.writeText(helo.utf8)
            case .mail:
                output.writeText("<\(sender.bare)>".utf8)
                for argument in senderArguments { output.writeText(argument.utf8) }
            case .rcpt:
                output.writeText("<\(recipients[index].address)>".utf8)
                for argument in recipients[index].arguments { output.writeText(argument.utf8) }
            case .header:
                output.writeText(fields[index].name)
                output.writeText(fields[index].shown(terms.omitted.contains(.leadingSpace)))
            case .negotiation, .data, .endOfHeader, .body, .endOfBody: break
            }
        }
    }

    private func writeClient(to output: inout ByteBuffer) {
        output.writeText(host.utf8)
        guard let address else { return _ = output.writeInteger(UInt8(ascii: "U")) }
        output.writeInteger(address.isV6 ? UInt8(ascii: "6") : UInt8(ascii: "4"))
        output.writeInteger(port)
        output.writeText(address.description.utf8)
    }
}

extension MilterMail.Field {
    /// The value as the protocol has it: lines end with LF, and one blank behind the colon belongs to neither.
    fileprivate func shown(_ withSpace: Bool) -> [UInt8] {
        var octets = value[...]
        if !withSpace, let first = octets.first, first == 0x20 || first == 0x09 { octets = octets.dropFirst() }
        guard octets.contains(0x0D) else { return Array(octets) }
        return octets.filter { $0 != 0x0D }
    }
}

extension ReversePath {
    /// Without brackets; empty for the null sender.
    package var bare: String {
        switch self {
        case .null: ""
        case .address(let address): "\(address)"
        }
    }

    fileprivate var domain: Domain? {
        if case .address(let address) = self { address.domain } else { nil }
    }
}

extension Recipient {
    /// ESMTP arguments as they would stand on the wire (RFC 3461 §4.1, §4.2).
    fileprivate var arguments: [String] {
        var words: [String] = []
        if let notify {
            let conditions = [(Notify.success, "SUCCESS"), (.failure, "FAILURE"), (.delay, "DELAY")]
            let asked = conditions.filter { notify.contains($0.0) }.map(\.1).joined(separator: ",")
            words.append("NOTIFY=\(asked.isEmpty ? "NEVER" : asked)")
        }
        if let original { words.append("ORCPT=\(original)") }
        return words
    }
}

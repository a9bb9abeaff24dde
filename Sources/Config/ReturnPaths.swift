// ReturnPaths.swift — senders of our own for mail that leaves (VERP): one for each message and recipient, so that a report that
// comes days after the delivery, from whoever forwarded the mail last, tells by its address alone what it is about.
//
//     app@example.org → ann@a.example      bounces+TAG DAY ID=ann=a.example@bounces.example.org, without the blanks
//     … where that has more than 64 octets  bounces+TAG DAY ID@bounces.example.org
//
// Guarantees: a tag is made of the message and the recipient, so whoever got one mail can say something of its own address and
// of nobody else's; letters count alike in both cases. Pure; time is passed in.

package import Mail

/// `[bounces]` of `rewrite.ini`.
package struct ReturnPaths: Hashable, Sendable {
    /// What an address that was made here says.
    package struct Sent: Hashable, Sendable {
        package let id: QueueID
        /// nil: it did not fit; a report names it, and ``ReturnPaths/confirms(_:_:)`` tells whether it is the one.
        package let recipient: EmailAddress?
        fileprivate let tag: String
        fileprivate let day: String
    }

    /// What mail to an address is.
    package enum Return: Hashable, Sendable {
        /// The address is none of these.
        case other
        /// A report about what was sent.
        case sent(Sent)
        /// To the address itself: a complaint, which names what was sent.
        case complaint
        /// It was not made here, or too long ago.
        case refused
    }

    /// `address`: where reports go; its domain's MX leads here.
    package let address: EmailAddress
    /// `senders`: domains whose mail leaves with a sender of ours.
    package let senders: Set<Domain>
    private let seal: AddressSeal

    /// RFC 5321 §4.5.3.1.1, octets.
    private static let longest = 64
    private static let idLength = 13

    package init(_ address: EmailAddress, senders: Set<Domain>, secrets: [Secret], days: Int) {
        self.init(address, senders, AddressSeal(secrets: secrets, days: days))
    }

    init(_ address: EmailAddress, _ senders: Set<Domain>, _ seal: AddressSeal) {
        (self.address, self.senders, self.seal) = (address, senders, seal)
    }

    /// Whether mail of this sender leaves with one of ours.
    package func covers(_ sender: ReversePath) -> Bool {
        guard case .address(let sender) = sender else { return false }
        return senders.contains(sender.domain) && returned(sender, at: .now()) == .other
    }

    /// The sender that a message leaves with for one recipient.
    package func sender(of id: QueueID, to recipient: EmailAddress, at now: Timestamp) -> EmailAddress {
        let day = AddressSeal.day(now)
        let head = "\(address.local)+\(seal.tag(Self.text(day, id, recipient)))\(day)\(id)"
        let named = "\(head)=\(recipient.local)=\(recipient.domain)"
        let fits =
            named.utf8.count <= Self.longest && Self.isPlain(recipient.local) && recipient.domain.literal == nil
        return EmailAddress(local: fits ? named : head, domain: address.domain)
    }

    /// Whether a report to the address may be about this recipient.
    package func confirms(_ sent: Sent, _ recipient: EmailAddress) -> Bool {
        seal.made(sent.tag, for: Self.text(sent.day, sent.id, recipient))
    }

    /// What mail to an address is.
    package func returned(_ recipient: EmailAddress, at now: Timestamp) -> Return {
        guard recipient.domain == address.domain else { return .other }
        let local = recipient.local.lowercasedASCII
        if local.isSame(octets: address.local.lowercasedASCII) { return .complaint }
        guard let rest = local.rest(behind: "\(address.local.lowercasedASCII)+") else { return .other }
        return sent(rest).map { seal.isRecent($0.day, at: now) ? .sent($0) : .refused } ?? .refused
    }

    /// Takes `TAG DAY ID` and, behind an equals sign, the recipient apart.
    private func sent(_ text: Substring) -> Sent? {
        let parts = text.split(octet: "=", maxSplits: 1, omittingEmpty: false)
        guard let head = parts.first, head.utf8.count == AddressSeal.tagLength + 2 + Self.idLength,
            let id = QueueID(head.dropping(octets: AddressSeal.tagLength + 2))
        else { return nil }
        let tag = String(decoding: head.utf8.prefix(AddressSeal.tagLength), as: UTF8.self)
        let day = String(decoding: head.utf8.dropFirst(AddressSeal.tagLength).prefix(2), as: UTF8.self)
        guard parts.count == 2 else { return Sent(id: id, recipient: nil, tag: tag, day: day) }
        guard let equals = parts[1].lastIndex(ofOctet: "="),
            let recipient = EmailAddress(
                "\(parts[1][..<equals])@\(parts[1][parts[1].utf8.index(after: equals)...])"
            )
        else { return nil }
        let sent = Sent(id: id, recipient: recipient, tag: tag, day: day)
        return confirms(sent, recipient) ? sent : nil
    }

    private static func text(_ day: String, _ id: QueueID, _ recipient: EmailAddress) -> String {
        "\(day)\(id)=\(recipient)"
    }

    /// Letters that no relay stumbles over, and no equals sign.
    private static func isPlain(_ local: String) -> Bool {
        local.utf8.allSatisfy { octet in
            switch octet {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"),
                UInt8(ascii: "+"):
                true
            default: false
            }
        }
    }
}

// MARK: - Reading

extension ReturnPaths {
    /// What stands in the brackets.
    static let section = "bounces"
    /// Keys whose values are no secrets.
    static let openKeys = ["address", "senders", "days"]
    private static let keys = ["address", "senders"] + AddressSeal.Draft.keys

    /// Reads the section.
    ///
    /// - Returns: nil when something is wrong with it, which the report learns.
    static func read(
        _ block: INIDocument.Block,
        _ report: inout SectionReport,
        in surroundings: inout Surroundings
    ) -> ReturnPaths? {
        var (address, senders, draft): (EmailAddress?, Set<Domain>, AddressSeal.Draft) = (nil, [], AddressSeal.Draft())
        let errors = report.count
        for entry in block.entries {
            do throws(ValueError) {
                if try draft.take(entry, in: &surroundings) { continue }
                switch entry.key {
                case "address": address = try Self.address(entry.value)
                case "senders":
                    for word in ValueParsing.list(entry.value) {
                        guard let domain = Domain(word), domain.literal == nil else {
                            throw ValueError("senders: \"\(ValueParsing.shown(word))\" is not a domain")
                        }
                        senders.insert(domain)
                    }
                default:
                    throw ValueError(
                        "unknown key \(ValueParsing.shown(entry.key))\(NearestName.hint(for: entry.key, among: keys))"
                    )
                }
            } catch {
                report.fail(entry.line, error.reason)
            }
        }
        guard let address, let seal = draft.seal else {
            guard report.count == errors else { return nil }
            report.fail(
                block.line,
                "[bounces] needs address and secret; the secret may be @file:secrets/NAME or @env:NAME"
            )
            return nil
        }
        return ReturnPaths(address, senders, seal)
    }

    /// Short enough for a tag, a day and a message behind it.
    private static func address(_ text: String) throws(ValueError) -> EmailAddress {
        guard let address = EmailAddress(text), address.domain.literal == nil, isPlain(address.local),
            !address.local.contains(octet: "+")
        else {
            throw ValueError(
                "address: \"\(ValueParsing.shown(text))\" is not an address such as bounces@bounces.example.org"
            )
        }
        guard address.local.utf8.count <= 32 else {
            throw ValueError("address: has more than 32 octets in front of the @, and more are to come behind them")
        }
        return address
    }
}

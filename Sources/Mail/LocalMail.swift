// LocalMail.swift — mail of and to the names of this machine: `root`, who has no mailbox here, and the programs that send
// as somebody without a domain.
//
// One rule for every way in: SMTP, the API, `sendmail`, and reports of our own. Pure.

/// Who is somebody of this machine, what they send as, and where their mail goes.
package struct LocalMail: Hashable, Sendable {
    /// Our own name: completes addresses that have no domain.
    package let me: Domain
    /// What the machine calls itself, a container's id for one; nil: `me`.
    package let machine: Domain?
    /// Everybody of this machine sends as this one; nil: as themselves.
    package let sender: EmailAddress?
    package let aliases: Aliases

    package init(
        me: Domain,
        machine: Domain? = nil,
        sender: EmailAddress? = nil,
        aliases: Aliases = Aliases()
    ) {
        self.me = me
        self.machine = machine
        self.sender = sender
        self.aliases = aliases
    }

    /// Somebody has said what becomes of such mail: programs of this machine may leave domains out.
    package var isOn: Bool { sender != nil || !aliases.isEmpty }

    /// Whether a domain is this machine.
    package func isHere(_ domain: Domain) -> Bool {
        domain == me || domain == machine || domain.name.isSame(octets: "localhost")
            || domain.name.isSame(octets: "localhost.localdomain")
    }

    /// The sender of a message from this machine.
    package func sender(of path: ReversePath) -> ReversePath {
        guard let sender, case .address(let address) = path, isHere(address.domain) else { return path }
        return .address(sender)
    }

    /// The recipients with those of this machine that have an alias replaced, each address once.
    ///
    /// - Returns: nil when nobody has one.
    package func redirected(_ recipients: [Recipient]) -> [Recipient]? {
        guard !aliases.isEmpty, recipients.contains(where: { target($0.address) != nil }) else { return nil }
        var found: [Recipient] = []
        var seen: Set<EmailAddress> = []
        for recipient in recipients {
            for address in target(recipient.address) ?? [recipient.address] where seen.insert(address).inserted {
                var other = recipient
                other.address = address
                found.append(other)
            }
        }
        return found
    }

    /// Where mail to an address of this machine goes; nil: it has no alias.
    package func target(_ address: EmailAddress) -> [EmailAddress]? {
        isHere(address.domain) ? aliases.targets(of: address.local, on: me) : nil
    }
}

/// What `aliases` says: names of this machine, and who gets their mail.
package struct Aliases: Hashable, Sendable {
    /// Whoever gets mail for a name.
    package enum Target: Hashable, Sendable {
        case address(EmailAddress)
        /// Another name of this machine.
        case name(String)
    }

    /// Addresses that one name may stand for in the end: nobody's lists of readers belong here.
    package static let most = 100
    /// Names that are followed for one.
    private static let mostNames = 1000

    private var table: [String: [Target]] = [:]

    package init() {}

    package var isEmpty: Bool { table.isEmpty }

    /// Says who gets the mail of a name; ASCII letters count alike in both cases.
    ///
    /// - Returns: false when the name stood there already.
    package mutating func add(_ name: String, _ targets: [Target]) -> Bool {
        table.updateValue(targets, forKey: name.lowercasedASCII) == nil
    }

    /// Who gets the mail of a name; nil without an alias, or when it leads nowhere but to itself.
    ///
    /// A name on the way that has no alias, or is its own, as in `root: root, ann@example.org`, is a mailbox of `me`.
    package func targets(of name: String, on me: Domain) -> [EmailAddress]? {
        let first = name.lowercasedASCII
        guard table[first] != nil else { return nil }
        // Each name is followed once, so that no table takes longer than it is.
        var waiting = [first]
        var seen: Set<String> = [first]
        var found: [EmailAddress] = []
        while let key = waiting.popLast() {
            for target in table[key] ?? [] where found.count < Self.most {
                let address: EmailAddress
                switch target {
                case .address(let given): address = given
                case .name(let name):
                    let next = name.lowercasedASCII
                    if table[next] != nil, next != key {
                        if seen.count < Self.mostNames, seen.insert(next).inserted { waiting.append(next) }
                        continue
                    }
                    address = EmailAddress(local: name, domain: me)
                }
                if !found.contains(address) { found.append(address) }
            }
        }
        return found.isEmpty ? nil : found
    }
}

// Rewriting.swift — `rewrite.ini`, typed: which addresses become others on the way in, and by which line.
//
// The most specific pattern of a table wins: the address, its domain, the longest suffix, `*`; a table for a login comes
// before one for a network, that before one for a listener, that before the one for everybody; where a table says nothing
// of an address, the next one is asked. What comes out is not looked up again.

package import Mail

/// `rewrite.ini`.
package struct Rewriting: Hashable, Sendable {
    /// Whose addresses a table is about.
    package enum Direction: String, Hashable, Sendable, CaseIterable {
        /// The envelope's sender, From, Sender, Reply-To and their kin.
        case senders
        /// The envelope's recipients, To, Cc and their kin.
        case recipients
    }

    /// Where addresses of a direction are rewritten.
    package enum Part: String, Hashable, Sendable, CaseIterable {
        case envelope, header
    }

    /// What a line says.
    package struct Rule: Hashable, Sendable {
        /// `ann@host.internal`, `@host.internal`, `.internal` or `*`, in normal form.
        package let match: String
        /// What becomes of it; nil: it stays as it is.
        package let replacement: AddressChange?
        /// `rewrite.ini:12`.
        package let origin: String

        /// What stands behind the equals sign, in normal form.
        package var target: String {
            switch replacement {
            case .address(let address): "\(address)"
            case .domain(let domain): "@\(domain)"
            case nil: Rewriting.stays
            }
        }
    }

    /// One section.
    package struct Table: Hashable, Sendable {
        package let direction: Direction
        package let whose: Whose
        /// In the order of the file.
        package internal(set) var rules: [Rule] = []
        var patterns = PatternTable<Rule>()

        /// What stands in the brackets.
        package var name: String { whose == .all ? direction.rawValue : "\(direction.rawValue) \(whose)" }

        init(_ direction: Direction, _ whose: Whose) {
            self.direction = direction
            self.whose = whose
        }
    }

    /// The word for addresses that are left alone.
    static let stays = "keep"

    /// In the order of the file.
    package internal(set) var tables: [Table] = []
    /// `keep_original`: the beginning of the names of fields that keep what was written; nil: nothing is kept.
    package internal(set) var kept: String?
    /// `senders_in` and `recipients_in`.
    package internal(set) var parts: [Direction: Set<Part>] = [
        .senders: [.envelope, .header], .recipients: [.envelope],
    ]

    /// `[srs]`; nil: there is no such section.
    package internal(set) var srs: SRS?
    /// `[staging]`, in the order of the file.
    package internal(set) var staging: [Staging] = []
    /// `[bounces]`; nil: there is no such section.
    package internal(set) var returnPaths: ReturnPaths?

    package init() {}

    /// Nothing is rewritten, whoever sends it.
    package var isEmpty: Bool { tables.isEmpty && srs == nil }

    /// What is in force for mail that comes in so; nil: nothing.
    package func rewriter(for way: WayIn, _ listeners: ListenerSettings) -> Rewriter? {
        guard !isEmpty else { return nil }
        let mine = tables.filter { $0.whose.means(way, listeners) }
        guard !mine.isEmpty || srs != nil else { return nil }
        var rewriter = Rewriter(mine.sorted { $0.whose.weight > $1.whose.weight }, parts, kept)
        rewriter.srs = srs
        if srs != nil, case .smtp(let here?) = way.door {
            rewriter.forwards = listeners.section(at: here)?.forwards ?? false
        }
        return rewriter
    }
}

/// The tables that count for one message.
package struct Rewriter: Sendable {
    private let tables: [Rewriting.Table]
    private let parts: [Rewriting.Direction: Set<Rewriting.Part>]
    /// See ``Rewriting/kept``.
    package let kept: String?
    /// Turns its addresses back; nil: there are none.
    package internal(set) var srs: SRS?
    /// Senders become addresses of ``srs``.
    var forwards = false

    init(
        _ tables: [Rewriting.Table],
        _ parts: [Rewriting.Direction: Set<Rewriting.Part>],
        _ kept: String?
    ) {
        self.tables = tables
        self.parts = parts
        self.kept = kept
    }

    /// Whether addresses of a direction are rewritten there.
    package func covers(_ part: Rewriting.Part, of direction: Rewriting.Direction) -> Bool {
        parts[direction]?.contains(part) ?? false && tables.contains { $0.direction == direction }
    }

    /// Whether a header is worth a look.
    package var looksAtHeader: Bool { Rewriting.Direction.allCases.contains { covers(.header, of: $0) } }

    /// The line that decides about an address, and the section that it stands in; nil: none does.
    package func rule(
        for address: EmailAddress,
        _ direction: Rewriting.Direction
    ) -> (rule: Rewriting.Rule, table: String)? {
        let address = address.withoutQuotes
        for table in tables where table.direction == direction {
            if let rule = table.patterns.find(address) { return (rule, table.name) }
        }
        return nil
    }

    /// An address of the envelope as it is from now on.
    package func rewritten(_ address: EmailAddress, _ direction: Rewriting.Direction) -> EmailAddress {
        var address = address
        let now = Timestamp.now()
        if direction == .recipients, case .address(let back)? = srs?.returned(address, at: now) { address = back }
        if covers(.envelope, of: direction) {
            address = rule(for: address, direction)?.rule.replacement?.applied(to: address) ?? address
        }
        guard direction == .senders, forwards, let srs else { return address }
        return srs.forwarded(address, at: now)
    }

    /// The envelope's sender as it is from now on; nobody stays nobody.
    package func rewritten(_ sender: ReversePath) -> ReversePath {
        guard case .address(let address) = sender else { return sender }
        return .address(rewritten(address, .senders))
    }

    /// The recipients as they are from now on, each address once.
    ///
    /// - Returns: nil when all of them stay.
    package func rewritten(_ recipients: [Recipient]) -> [Recipient]? {
        guard srs != nil || covers(.envelope, of: .recipients) else { return nil }
        var isChanged = false
        var found: [Recipient] = []
        var seen: Set<EmailAddress> = []
        for recipient in recipients {
            var other = recipient
            other.address = rewritten(recipient.address, .recipients)
            isChanged = isChanged || other.address != recipient.address
            if seen.insert(other.address).inserted { found.append(other) }
        }
        return isChanged ? found : nil
    }
}

extension EmailAddress {
    /// The same mailbox without quotes that it does not need: `"ann"@x` is `ann@x` (RFC 5321 §4.1.2).
    fileprivate var withoutQuotes: EmailAddress {
        guard local.utf8.first == UInt8(ascii: "\"") else { return self }
        var bytes: [UInt8] = []
        var rest = local.utf8.dropFirst().dropLast()[...]
        while let byte = rest.popFirst() {
            bytes.append(byte == UInt8(ascii: "\\") ? rest.popFirst() ?? byte : byte)
        }
        return EmailAddress("\(String(decoding: bytes, as: UTF8.self))@\(domain.name)") ?? self
    }
}

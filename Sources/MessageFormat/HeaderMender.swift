// HeaderMender.swift — a header as programs of this machine and old clients write it, put right before anybody signs it: one
// rule for mail by SMTP, by the API and by `sendmail`.
//
// Guarantees: what needs nothing is left as it is, to the octet; in what does, only the addresses change, and names,
// comments and folds stay. A field that cannot be read for certain is left alone.
// Source: RFC 5322 §3.4, §3.6.3, RFC 6409 §8.2

package import Mail

/// Puts a header right.
package struct HeaderMender: Hashable, Sendable {
    /// Fields that name secret recipients.
    static let secret = ["bcc", "resent-bcc"]
    /// Fields whose addresses are completed.
    private static let addresses = [
        "from", "sender", "reply-to", "to", "cc", "resent-from", "resent-sender", "resent-to", "resent-cc",
    ]
    /// Those that say who sent it.
    private static let senders = ["from", "sender"]

    private let local: LocalMail
    /// `Bcc`, and lines of a mailbox file in front of the header, are taken out.
    private let isLenient: Bool

    /// - Parameters:
    ///   - local: completes addresses, and says what senders of this machine send as.
    ///   - isLenient: takes out `Bcc`, and lines of a mailbox file.
    package init(_ local: LocalMail, isLenient: Bool = false) {
        self.local = local
        self.isLenient = isLenient
    }

    /// The header, put right.
    ///
    /// - Parameter header: as ``HeaderBlock`` measures it, without the empty line.
    /// - Returns: nil when nothing is wrong with it.
    package func mend(_ header: [UInt8]) -> (header: [UInt8], did: Mending)? {
        let fields = HeaderFields(header).fields
        guard let first = fields.first else { return nil }
        var did = Mending()
        var mended: [UInt8] = []
        mended.reserveCapacity(header.count + 64)
        if first.lines.startIndex > 0 {
            if isLenient { did.insert(.mailbox) } else { mended += header[..<first.lines.startIndex] }
        }
        for field in fields {
            if isLenient, Self.secret.contains(field.name) {
                did.insert(.secret)
            } else {
                mended += Self.addresses.contains(field.name) ? completed(field, &did) : field.lines
            }
        }
        return did.isEmpty ? nil : (mended, did)
    }

    /// The field with every address complete.
    private func completed(_ field: HeaderFields.Field, _ did: inout Mending) -> ArraySlice<UInt8> {
        let list = AddressList(field.value)
        guard list.fault == nil else { return field.lines }
        var lines = field.lines
        for (index, entry) in list.entries.enumerated().reversed() {
            let start = field.value.startIndex + entry.place.lowerBound
            let end = field.value.startIndex + entry.place.upperBound
            let isHere = entry.domain.map(local.isHere) ?? true
            guard entry.local != nil, isHere else { continue }
            if let sender = local.sender, Self.senders.contains(field.name) {
                // A name with a comma and without quotes: `Doe, John <john@example.org>`.
                guard entry.domain != nil || entry.isBracketed || index == list.entries.count - 1 else { continue }
                guard entry.address != sender else { continue }
                lines.replaceSubrange(start..<end, with: "\(sender)".utf8)
                did.insert(.sender)
            } else if entry.domain == nil, entry.isBracketed || !Self.isPartOfName(index, in: list, of: field) {
                lines.insert(contentsOf: "@\(local.me.name)".utf8, at: end)
                did.insert(.domain)
            }
        }
        return lines
    }

    /// Whether a word in the list of authors is the first half of a name with a comma.
    private static func isPartOfName(_ index: Int, in list: AddressList, of field: HeaderFields.Field) -> Bool {
        guard senders.contains(field.name), index + 1 < list.entries.count else { return false }
        return list.entries[index + 1].isBracketed && !list.entries[index + 1].name.isEmpty
    }
}

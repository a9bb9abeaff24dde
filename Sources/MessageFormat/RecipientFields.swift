// RecipientFields.swift — a message for a next hop that knows no envelope and sends to whom its header names.
//
// Guarantees: the header names those of the envelope and nobody else; whoever is not named in To or Cc stands in one Bcc field,
// which such a hop takes out; what is not about recipients stays as it is, octet by octet. RFC 5322 §3.6.3, §3.6.6.

package import Mail

/// Makes the recipient fields of a header fit an envelope.
package enum RecipientFields {
    private static let kept = ["to", "cc"]
    private static let dropped = ["bcc", "resent-to", "resent-cc", "resent-bcc"]

    /// A message whose header says what its envelope says.
    ///
    /// A To or Cc field that names somebody else is kept as `X-Original-To` or `X-Original-Cc`, for people to read; those of its
    /// members who are of the envelope stand in a field of its name. Bcc and Resent fields go.
    ///
    /// - Parameters:
    ///   - message: header and text, with CRLF.
    ///   - envelope: who gets it.
    package static func fit(_ message: [UInt8], to envelope: [EmailAddress]) -> [UInt8] {
        let size = message.withUnsafeBytes { HeaderBlock.size(in: $0) }
        var left = Wanted(envelope)
        var header: [UInt8] = []
        header.reserveCapacity(size + 1024)
        var rest = 0
        for field in HeaderFields(Array(message[..<size])).fields {
            // Lines that are no fields stay between those that are.
            header += message[rest..<field.lines.startIndex]
            rest = field.lines.endIndex
            if kept.contains(where: { field.name.isSame(octets: $0) }) {
                header += fitted(field, &left)
            } else if !dropped.contains(where: { field.name.isSame(octets: $0) }) {
                header += field.lines
            }
        }
        header += message[rest..<size]
        if header.last.map({ $0 != 0x0A }) ?? false { header += [0x0D, 0x0A] }
        if !left.addresses.isEmpty { header += line("Bcc", left.addresses) }
        // Without a header the first line of the text would become one.
        let text = message[size...]
        let isApart = text.first == 0x0D || text.first == 0x0A
        return header + (isApart ? [] : [0x0D, 0x0A]) + text
    }

    private static func fitted(_ field: HeaderFields.Field, _ left: inout Wanted) -> [UInt8] {
        let list = AddressList(field.value)
        let named = list.entries.map(\.address)
        let isExact = list.fault == nil && named.allSatisfy { $0.map { left.isOfEnvelope($0) } ?? false }
        let ours = named.compactMap(\.self).filter { left.isOfEnvelope($0) }
        for address in ours { left.take(address) }
        if isExact { return Array(field.lines) }
        let name = field.name.isSame(octets: "to") ? "To" : "Cc"
        var lines = Array("X-Original-\(name):".utf8) + field.value + [0x0D, 0x0A]
        if !ours.isEmpty { lines += line(name, ours) }
        return lines
    }

    /// One address a line.
    private static func line(_ name: String, _ addresses: [EmailAddress]) -> [UInt8] {
        Array("\(name): \(addresses.map { "<\($0)>" }.joined(separator: ",\r\n "))\r\n".utf8)
    }

    /// Who of the envelope is still to be named.
    private struct Wanted {
        private let envelope: Set<[UInt8]>
        private(set) var addresses: [EmailAddress] = []
        private var open: Set<[UInt8]> = []

        init(_ envelope: [EmailAddress]) {
            self.envelope = Set(envelope.map(Self.key))
            for address in envelope where open.insert(Self.key(address)).inserted { addresses.append(address) }
        }

        func isOfEnvelope(_ address: EmailAddress) -> Bool { envelope.contains(Self.key(address)) }

        mutating func take(_ address: EmailAddress) {
            let key = Self.key(address)
            if open.remove(key) != nil { addresses.removeAll { Self.key($0) == key } }
        }

        /// These hops know no difference of letters in front of the @.
        private static func key(_ address: EmailAddress) -> [UInt8] { Array("\(address)".lowercasedASCII.utf8) }
    }
}

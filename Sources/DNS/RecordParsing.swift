// RecordParsing.swift — the data of resource records into values. Nothing here trusts a length or a letter.

package import Mail

/// Reads rdata as libunbound hands it out: network order, names uncompressed.
package enum RecordParsing {
    /// A name found in a record.
    package enum Name: Hashable, Sendable {
        case root
        case host(Domain)
        /// Not a name of a host: bad lengths, compression, letters that would be dangerous in logs and SMTP commands.
        case invalid
    }

    /// - Returns: nil when the data is no MX record, or its name none of a host.
    /// - Source: RFC 1035 §3.3.9
    package static func mx(_ data: some RandomAccessCollection<UInt8>) -> MXRecord? {
        guard data.count >= 3 else { return nil }
        let preference = data.prefix(2).reduce(UInt16(0)) { $0 << 8 | UInt16($1) }
        switch name(data.dropFirst(2)) {
        case .root: return MXRecord(preference: preference, host: nil)
        case .host(let domain): return MXRecord(preference: preference, host: domain)
        case .invalid: return nil
        }
    }

    /// - Returns: nil unless there are 4 octets.
    package static func a(_ data: some Collection<UInt8>) -> IPAddress? {
        data.count == 4 ? IPAddress(bytes: data) : nil
    }

    /// - Returns: nil unless there are 16 octets. A v4-mapped address comes back as the IPv4 address it means.
    package static func aaaa(_ data: some Collection<UInt8>) -> IPAddress? {
        data.count == 16 ? IPAddress(bytes: data) : nil
    }

    /// - Returns: ``TLSARecord/unreadable`` when there are not three numbers and something to compare with: the record is
    ///   there, and cannot be used.
    /// - Source: RFC 6698 §2.1, RFC 7672 §2.2
    package static func tlsa(_ data: some RandomAccessCollection<UInt8>) -> TLSARecord {
        guard data.count > 3 else { return .unreadable }
        let numbers = Array(data.prefix(3))
        return TLSARecord(
            usage: numbers[0],
            selector: numbers[1],
            matching: numbers[2],
            data: Array(data.dropFirst(3))
        )
    }

    /// The strings of a TXT record joined without anything in between; what is not UTF-8 is replaced.
    ///
    /// - Returns: nil when a length leads out of the data.
    /// - Source: RFC 1035 §3.3.14
    package static func txt(_ data: some RandomAccessCollection<UInt8>) -> String? {
        var text: [UInt8] = []
        var rest = data[...]
        while let length = rest.popFirst() {
            guard rest.count >= Int(length) else { return nil }
            text += rest.prefix(Int(length))
            rest = rest.dropFirst(Int(length))
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Reads a name that fills the data to its end.
    ///
    /// - Source: RFC 1035 §3.1
    package static func name(_ data: some RandomAccessCollection<UInt8>) -> Name {
        guard (1...255).contains(data.count) else { return .invalid }
        var text: [UInt8] = []
        var rest = data[...]
        while let length = rest.popFirst() {
            if length == 0 {
                guard rest.isEmpty else { return .invalid }
                return text.isEmpty ? .root : host(text)
            }
            // Above 63 it is a compression pointer or unassigned.
            guard length <= 63, rest.count >= Int(length) else { return .invalid }
            let label = rest.prefix(Int(length))
            // A dot inside a label would become two labels in text.
            guard !label.contains(UInt8(ascii: ".")) else { return .invalid }
            if !text.isEmpty { text.append(UInt8(ascii: ".")) }
            text += label
            rest = rest.dropFirst(Int(length))
        }
        return .invalid
    }

    private static func host(_ text: [UInt8]) -> Name {
        guard text.allSatisfy({ $0 < 0x80 }), let domain = Domain(String(decoding: text, as: UTF8.self)),
            domain.literal == nil
        else { return .invalid }
        return .host(domain)
    }
}

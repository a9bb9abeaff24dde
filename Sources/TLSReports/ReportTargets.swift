// ReportTargets.swift — where a domain wants its reports on TLS: the TXT record of `_smtp._tls.DOMAIN` (RFC 8460 §3). Pure.

import HTTPClient
package import Mail

/// One place that takes reports.
package enum ReportTarget: Hashable, Sendable, CustomStringConvertible {
    case mail(EmailAddress)
    /// An HTTPS URL.
    case web(String)

    package var description: String {
        switch self {
        case .mail(let address): "mailto:\(address)"
        case .web(let url): url
        }
    }

    /// Places that are served for one domain.
    private static let most = 4
    private static let longestURL = 1000

    /// The name that the record stands under.
    package static func name(of domain: Domain) -> Domain { Domain(unchecked: "_smtp._tls.\(domain.name)") }

    /// Reads the records of a name.
    ///
    /// - Returns: empty when the domain wants no reports: there is no record that begins with the version, more than one, or none
    ///   of its places is one that can be served.
    /// - Source: RFC 8460 §3
    package static func read(_ records: [String]) -> [ReportTarget] {
        let ours = records.compactMap { record -> [Substring]? in
            let fields = record.split(octet: ";", omittingEmpty: true)
            guard let first = fields.first, trimmed(first).isSame(octets: "v=TLSRPTv1") else { return nil }
            return Array(fields.dropFirst())
        }
        guard ours.count == 1, let fields = ours.first else { return [] }
        for field in fields {
            guard let places = trimmed(field).rest(behind: "rua=") else { continue }
            return Array(places.split(octet: ",").compactMap { target(trimmed($0)) }.prefix(most))
        }
        return []
    }

    private static func target(_ text: String) -> ReportTarget? {
        let small = text.lowercasedASCII
        if small.starts(withOctets: "mailto:") {
            // Header fields that a URL may bring along are not for us to send.
            let rest = text.dropping(octets: 7).split(octet: "?", omittingEmpty: false).first ?? ""
            guard let address = unescaped(rest).flatMap({ EmailAddress($0) }) else { return nil }
            return .mail(address)
        }
        guard small.starts(withOctets: "https://"), text.utf8.count <= longestURL, (try? WebURL(text)) != nil else {
            return nil
        }
        return .web(text)
    }

    /// Without `%40` and the like (RFC 3986 §2.1); nil for an escape that is none.
    private static func unescaped(_ text: Substring) -> String? {
        var octets: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let octet = rest.popFirst() {
            guard octet == UInt8(ascii: "%") else {
                octets.append(octet)
                continue
            }
            guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else {
                return nil
            }
            octets.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: octets, as: UTF8.self)
    }

    private static func trimmed(_ text: Substring) -> String {
        var rest = text.utf8[...]
        while let first = rest.first, first == 0x20 || first == 0x09 { rest = rest.dropFirst() }
        while let last = rest.last, last == 0x20 || last == 0x09 { rest = rest.dropLast() }
        return String(decoding: rest, as: UTF8.self)
    }
}

// ACMESettings.swift — the `acme_…` keys of `tls.ini`: a certificate that the relay gets and renews by itself.

import HTTPClient
package import Mail

/// Where certificates come from.
package struct ACMESettings: Hashable, Sendable {
    /// `acme_directory`: the authority; nil: certificates come by other ways.
    package var directory: String?
    /// `acme_names`: host names of the certificate; empty: `me`.
    package var names: [String] = []
    /// `acme_contact`: an address for the authority's mail; nil: none.
    package var contact: String?
    /// `acme_terms_agreed`: the authority's terms of service were read.
    package var agrees = false
    /// `acme_challenge`: `dns-01` with ``hook``, or `http-01` with ``listen``.
    package var usesDNS = false
    /// `acme_listen`: where the authority asks, open only while it may; port 80 of the names leads there.
    package var listen: [ListenAddress] = []
    /// `acme_hook`: a program that puts TXT records into the DNS.
    package var hook: String?
    /// `acme_eab_id` and `acme_eab_key_file`: an account at the authority that was made otherwise.
    package var bindingID: String?
    package var bindingFile: String?
    /// `acme_ca_file`: authorities that the authority's own server is believed by; nil: the system's.
    package var caFile: String?

    package init() {
        for place in ["[::]:80", "0.0.0.0:80"] { if let address = ListenAddress(place) { listen.append(address) } }
    }

    /// The names of the certificate.
    package func names(of me: Domain) -> [String] { names.isEmpty ? [me.name] : names }

    static let keys: [SettingKey<TLSSettings>] = [
        SettingKey("acme_directory") { (text, target) throws(ValueError) in
            guard !text.isEmpty else { return target.acme.directory = nil }
            guard let url = try? WebURL(text), url.isConfidential else { throw ValueError("is no https URL") }
            target.acme.directory = text
        },
        SettingKey("acme_names") { (text, target) throws(ValueError) in
            target.acme.names = try text.split(octet: ",").map { word throws(ValueError) in try name(word.trimmed) }
        },
        SettingKey("acme_contact") { (text, target) throws(ValueError) in
            guard text.isEmpty || EmailAddress(text)?.isASCII == true else { throw ValueError("is no mail address") }
            target.acme.contact = text.isEmpty ? nil : text
        },
        .boolean("acme_terms_agreed", \.acme.agrees),
        SettingKey("acme_challenge") { (text, target) throws(ValueError) in
            switch text.lowercasedASCII {
            case "http-01": target.acme.usesDNS = false
            case "dns-01": target.acme.usesDNS = true
            default: throw ValueError("\"\(ValueParsing.shown(text))\" is neither http-01 nor dns-01")
            }
        },
        SettingKey("acme_listen") { (text, target) throws(ValueError) in
            target.acme.listen = try text.split(octet: ",").map { word throws(ValueError) in
                guard let address = ListenAddress(word.trimmed) else {
                    throw ValueError("\"\(ValueParsing.shown(word))\" is not address:port")
                }
                return address
            }
        },
        SettingKey("acme_hook") { (text, target) throws(ValueError) in target.acme.hook = try optional(text) },
        SettingKey("acme_eab_id") { (text, target) throws(ValueError) in target.acme.bindingID = try optional(text) },
        SettingKey("acme_eab_key_file") { (text, target) throws(ValueError) in
            target.acme.bindingFile = try optional(text)
        },
        SettingKey("acme_ca_file") { (text, target) throws(ValueError) in target.acme.caFile = try optional(text) },
    ]

    private static func optional(_ text: String) throws(ValueError) -> String? {
        guard !text.utf8.contains(0) else { throw ValueError("cannot hold a NUL") }
        return text.isEmpty ? nil : text
    }

    /// `*.` may stand in front.
    private static func name(_ text: Substring) throws(ValueError) -> String {
        let isWild = text.utf8.starts(with: "*.".utf8)
        guard let domain = Domain(isWild ? text.dropping(octets: 2) : text), domain.literal == nil else {
            throw ValueError("\"\(ValueParsing.shown(text))\" is no host name")
        }
        return isWild ? "*.\(domain.name)" : domain.name
    }
}

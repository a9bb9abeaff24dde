// SettingsReader+Trust.swift — the files that say whom we believe: authorities of next hops, DNSSEC trust anchor.

import Mail
import OpenSSL

extension SettingsReader {
    private static let largestAuthorities = 4 << 20

    /// `outbound.ini`, and what `tls_ca_file` holds; nil without one.
    func readOutbound(_ finding: inout ConfigFinding) throws(ConfigErrors) -> (OutboundSettings, [UInt8]?) {
        var outbound = try keyed(OutboundSettings.self, &finding.warnings)
        guard let file = outbound.tlsCAFile else { return (outbound, nil) }
        finding.referenced.insert(file)
        outbound.tlsCAFile = source.path(of: file)
        return (outbound, try readAuthorities(file))
    }

    /// `resolver.ini` and the zone of its trust anchor.
    func readResolver(_ finding: inout ConfigFinding) throws(ConfigErrors) -> ResolverSettings {
        var resolver = try keyed(ResolverSettings.self, &finding.warnings)
        guard let file = resolver.trustAnchorFile else { return resolver }
        finding.referenced.insert(file)
        resolver.trustAnchorFile = source.path(of: file)
        resolver.anchoredZone = try anchoredZone(file)
        return resolver
    }

    /// `tls.ini` and the files it names, which must fit together.
    func readTLS(_ finding: inout ConfigFinding) throws(ConfigErrors) -> TLSSettings {
        var settings = try keyed(TLSSettings.self, &finding.warnings)
        finding.referenced = settings.fileNames
        try settings.readFiles(source)
        try examine(settings)
        return settings
    }

    /// `tls_ca_file`: at least one certificate that OpenSSL can read, or mail would wait for each that `verify` is said of.
    private func readAuthorities(_ file: String) throws(ConfigErrors) -> [UInt8] {
        let bytes: [UInt8]?
        do throws(ConfigError) {
            bytes = try source.contents(of: file, atMost: Self.largestAuthorities)
        } catch {
            throw ConfigErrors([error])
        }
        guard let bytes else { throw missing(file, "tls_ca_file", OutboundSettings.file) }
        var client = TLSContext.Client()
        client.authorities = .pem(bytes)
        do throws(TLSError) {
            _ = try TLSContext(client: client)
        } catch {
            throw refused("\(ValueParsing.shown(file)): \(error.reason)", "tls_ca_file", OutboundSettings.file)
        }
        return bytes
    }

    private func missing(_ file: String, _ key: String, _ origin: String) -> ConfigErrors {
        refused("there is no file \(ValueParsing.shown(file))", key, origin)
    }

    /// The trouble with a file, said of the line that names it.
    private func refused(_ reason: String, _ key: String, _ origin: String) -> ConfigErrors {
        let text = try? self.text(origin)
        let line = text.flatMap { INIDocument(parsing: $0).entryLines(key, in: nil).last }
        return ConfigErrors([ConfigError(file: origin, line: line.map { $0 + 1 }, reason: "\(key): \(reason)")])
    }

    /// The owner of the first record of a trust anchor; the root when the file says nothing: libunbound judges it.
    private func anchoredZone(_ file: String) throws(ConfigErrors) -> String {
        guard let text = try self.text(file) else { throw missing(file, "trust_anchor_file", ResolverSettings.file) }
        for line in text.filledLines {
            guard let word = line.words.first, word.startIndex == line.startIndex else { continue }
            if word.starts(withOctets: ";") || word.starts(withOctets: "$") { continue }
            return Domain(word)?.name ?? "."
        }
        return "."
    }
}

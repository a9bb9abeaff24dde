// SettingsReader+Trust.swift — the files that say whom we believe: authorities of next hops, DNSSEC trust anchor.

import Mail
import OpenSSL

extension SettingsReader {
    private static let largestAuthorities = 4 << 20

    /// Finds the files that other files name.
    ///
    /// - Returns: what `tls_ca_file` holds; nil without one.
    func readTrust(
        _ outbound: inout OutboundSettings?,
        _ resolver: inout ResolverSettings?
    ) throws(ConfigErrors) -> [UInt8]? {
        if let file = resolver?.trustAnchorFile {
            resolver?.trustAnchorFile = source.path(of: file)
            resolver?.anchoredZone = try anchoredZone(file)
        }
        guard let file = outbound?.tlsCAFile else { return nil }
        outbound?.tlsCAFile = source.path(of: file)
        return try readAuthorities(file)
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
        for line in text.split(whereSeparator: \.isNewline) {
            guard let word = line.split(whereSeparator: \.isWhitespace).first, let first = word.first else { continue }
            if first == ";" || first == "$" || line.first?.isWhitespace ?? true { continue }
            return Domain(word)?.name ?? "."
        }
        return "."
    }
}

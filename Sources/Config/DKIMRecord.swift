// DKIMRecord.swift — the TXT record that publishes a key (RFC 6376 §3.6.1, RFC 8463 §4), and the files that keys are in.

package import Files
import Glibc
package import Mail
package import OpenSSL

/// The public half of a key, for the DNS.
package struct DKIMRecord: Hashable, Sendable {
    /// `selector._domainkey.domain`.
    package let name: String
    /// `v=DKIM1; k=…; p=…`.
    package let value: String

    package init(_ domain: Domain, _ selector: String, _ key: SigningKey) {
        let data = Base64.encode(key.rawPublicKey ?? key.publicKeyDER)
        name = "\(selector)._domainkey.\(domain.name)"
        value = "v=DKIM1; k=\(key.rawPublicKey == nil ? "rsa" : "ed25519"); p=\(data)"
    }

    /// In the form of a zone file: strings of at most 255 octets.
    package var zoneLine: String {
        var rest = Substring(value)
        var pieces: [String] = []
        while !rest.isEmpty {
            pieces.append("\"\(Substring(rest.utf8.prefix(250)))\"")
            rest = Substring(rest.utf8.dropFirst(250))
        }
        return "\(name). IN TXT ( \(pieces.joined(separator: "\n    ")) )"
    }
}

/// The keys below `dkim/` in a configuration directory.
package struct DKIMKeyFiles: Sendable {
    private let directory: String
    private let disk: any Disk

    /// - Parameter directory: that of the configuration.
    package init(_ directory: String, disk: any Disk = LinuxDisk()) {
        self.directory = directory
        self.disk = disk
    }

    /// Where a key is kept.
    package func path(_ domain: Domain, _ selector: String) -> String {
        "\(directory)/\(DKIMSettings.keyFile(domain, selector))"
    }

    /// Writes a new key, for its owner alone.
    ///
    /// - Throws: with EEXIST when there is one of that name.
    package func write(_ key: SigningKey, _ domain: Domain, _ selector: String) throws(DiskError) {
        let path = path(domain, selector)
        try disk.makeDirectory("\(directory)/dkim", permissions: 0o750)
        try disk.makeDirectory("\(directory)/dkim/\(domain.name)", permissions: 0o750)
        guard try disk.status(path, following: true) == nil else { throw DiskError("create", path, EEXIST) }
        let pem: [UInt8]
        do throws(TLSError) { pem = try key.pem() } catch { throw DiskError("create", path, EINVAL) }
        try disk.replace(path, with: pem, permissions: 0o600)
    }

    /// The key of a selector; nil when there is none that can be read.
    package func key(_ domain: Domain, _ selector: String) -> SigningKey? {
        guard let pem = try? disk.contents(of: path(domain, selector), limit: 64 << 10) else { return nil }
        return try? SigningKey(pem: pem)
    }

    /// Takes a key away for good.
    package func remove(_ domain: Domain, _ selector: String) throws(DiskError) {
        try disk.unlink(path(domain, selector))
    }

    /// Every key that is there, whether it signs or not; at most so many.
    package func all(atMost most: Int) -> [(domain: Domain, selector: String)] {
        var found: [(domain: Domain, selector: String)] = []
        for folder in ((try? disk.list("\(directory)/dkim")) ?? []).sorted(by: { $0.name < $1.name }) {
            guard let domain = Domain(folder.name), domain.name.isSame(octets: folder.name) else { continue }
            let files = ((try? disk.list("\(directory)/dkim/\(folder.name)")) ?? []).map(\.name).sorted()
            for file in files where file.ends(withOctets: ".pem") {
                let selector = String(decoding: Array(file.utf8.dropLast(4)), as: UTF8.self)
                guard DKIMSettings.isSelector(selector), found.count < most else { continue }
                found.append((domain, selector))
            }
        }
        return found
    }
}

extension DKIMRecord {
    /// Whether a text in the DNS publishes the same key; other tags may say what they want.
    package func isSame(as text: String) -> Bool {
        let (ours, theirs) = (Self.tags(value), Self.tags(text))
        guard theirs["v"].map({ $0.isSame(octets: "DKIM1") }) ?? true, let key = theirs["p"], !key.isEmpty else {
            return false
        }
        return key.isSame(octets: ours["p"] ?? "") && (theirs["k"] ?? "rsa").isSame(octets: ours["k"] ?? "rsa")
    }

    /// RFC 6376 §3.2; white space inside of a value means nothing in the tags that are looked at.
    private static func tags(_ text: String) -> [String: String] {
        var tags: [String: String] = [:]
        for piece in text.split(octet: ";") {
            let parts = piece.split(octet: "=", maxSplits: 1, omittingEmpty: false)
            guard parts.count == 2 else { continue }
            let value = String(decoding: parts[1].utf8.filter { $0 > 0x20 }, as: UTF8.self)
            tags[String(parts[0].trimmed)] = value
        }
        return tags
    }
}

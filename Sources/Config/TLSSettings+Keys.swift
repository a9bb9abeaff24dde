// TLSSettings+Keys.swift — the keys of `tls.ini`, and the files they name.

import Mail

extension TLSSettings: KeyedSettings {
    package static let file = "tls.ini"
    private static let versions = ["TLSv1.2", "TLSv1.3"]
    private static let largestFile = 1 << 20

    package static let keys: [SettingKey<TLSSettings>] =
        [
            SettingKey("key") { (text, target) throws(ValueError) in target.files.keyFile = try path(text) },
            SettingKey("cert") { (text, target) throws(ValueError) in target.files.certificateFile = try path(text) },
            SettingKey("ciphers") { (text, target) throws(ValueError) in
                guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F || $0 == 0x20 }) else {
                    throw ValueError("a list of ciphers is ASCII")
                }
                target.ciphers = text
            },
            SettingKey("minVersion") { (text, target) throws(ValueError) in
                guard let version = versions.first(where: { $0.lowercasedASCII == text.lowercasedASCII }) else {
                    throw ValueError(
                        "\"\(ValueParsing.shown(text))\" is neither TLSv1.2 nor TLSv1.3; older ones are broken"
                    )
                }
                target.minimumVersion = version
            },
            .boolean("honorCipherOrder", \.honorsCipherOrder),
            .boolean("requestCert", \.requestsCertificate),
            SettingKey("clientCA") { (text, target) throws(ValueError) in
                target.clientAuthorityFile = text.isEmpty ? nil : try path(text)
            },
        ] + ACMESettings.keys

    package static let quietKeys: [SettingKey<TLSSettings>] = []

    package static let ownKeys = ["key", "cert"]

    /// A name without a dot is no section of a host: Haraka has `[outbound]` and `[redis]` here.
    package static func owns(_ section: String) -> Bool { section.contains(octet: ".") }

    /// `[host.name] key` and `cert`.
    package mutating func take(_ entry: INIDocument.Entry) throws(ValueError) -> Bool {
        guard let section = entry.section, Self.owns(section), Self.ownKeys.contains(entry.key) else { return false }
        guard let name = Self.hostName(section) else {
            let shown = ValueParsing.shown(section)
            throw ValueError("[\(shown)] is no host name, such as mail.example.com or *.example.com")
        }
        let file = try Self.path(entry.value)
        var index = named.count
        if let known = named.firstIndex(where: { $0.name == name }) {
            index = known
        } else {
            named.append(Named(name: name, files: CertificateFiles(certificateFile: "", keyFile: "")))
        }
        if entry.key == "key" { named[index].files.keyFile = file } else { named[index].files.certificateFile = file }
        return true
    }

    private static func path(_ text: String) throws(ValueError) -> String {
        guard !text.isEmpty, !text.utf8.contains(0) else { throw ValueError("the name of a file is missing") }
        return text
    }

    /// The name that clients ask for (RFC 6066 §3), in normal form; `*.` may stand in front.
    private static func hostName(_ text: String) -> String? {
        let isWild = text.utf8.starts(with: "*.".utf8)
        guard let domain = Domain(isWild ? text.dropFirst(2) : text[...]), domain.literal == nil,
            !domain.name.utf8.contains(UInt8(ascii: "_"))
        else { return nil }
        return isWild ? "*.\(domain.name)" : domain.name
    }

    // MARK: The files

    /// Reads what the keys name.
    ///
    /// - Throws: for a file that is missing though it was named, or though its other half is there.
    mutating func readFiles(_ source: any ConfigSource) throws(ConfigErrors) {
        let defaults = CertificateFiles(certificateFile: "tls_cert.pem", keyFile: "tls_key.pem")
        let found = try Self.load(files, source, isOptional: files == defaults)
        isAvailable = found != nil
        if let found { files = found }
        for index in named.indices {
            let files = named[index].files
            guard !files.keyFile.isEmpty, !files.certificateFile.isEmpty else {
                throw Self.error("[\(named[index].name)] needs both key and cert")
            }
            guard let found = try Self.load(files, source, isOptional: false) else { continue }
            named[index].files = found
        }
        if !named.isEmpty, !isAvailable {
            throw Self.error("certificates for some names need one for all others: \(files.certificateFile) is missing")
        }
        if let file = clientAuthorityFile {
            guard let bytes = try Self.contents(of: file, source) else { throw Self.missing(file) }
            clientAuthorities = bytes
        }
    }

    private static func load(
        _ files: CertificateFiles,
        _ source: any ConfigSource,
        isOptional: Bool
    ) throws(ConfigErrors) -> CertificateFiles? {
        let key = try contents(of: files.keyFile, source)
        let certificates = try contents(of: files.certificateFile, source)
        if key == nil, certificates == nil, isOptional { return nil }
        guard let key else { throw missing(files.keyFile) }
        guard let certificates else { throw missing(files.certificateFile) }
        if let exposure = source.exposure(of: files.keyFile) {
            throw ConfigErrors([ConfigError(file: files.keyFile, reason: exposure)])
        }
        var found = files
        (found.key, found.certificates) = (key, certificates)
        return found
    }

    private static func contents(of file: String, _ source: any ConfigSource) throws(ConfigErrors) -> [UInt8]? {
        do throws(ConfigError) {
            return try source.contents(of: file, atMost: largestFile)
        } catch {
            throw ConfigErrors([error])
        }
    }

    private static func missing(_ file: String) -> ConfigErrors {
        error("there is no file \(ValueParsing.shown(file))")
    }

    private static func error(_ reason: String) -> ConfigErrors {
        ConfigErrors([ConfigError(file: file, reason: reason)])
    }
}

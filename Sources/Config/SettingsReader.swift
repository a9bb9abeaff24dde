// SettingsReader.swift — a configuration directory into Settings, checked as a whole.
//
// A missing file means its defaults. A file that is there and cannot be read or understood is an error: nothing is ever
// started on open defaults because a file was broken (reliability invariant 7).

package import Mail

/// Reads all files of a configuration directory.
package struct SettingsReader: Sendable {
    /// What a successful read gives.
    package struct Result: Sendable {
        package let settings: Settings
        /// What was understood but is probably not what was meant.
        package let warnings: [ConfigError]
        /// Files outside of ``files`` that were read: secrets.
        package let referenced: Set<String>
    }

    /// The files that are read, in the order of their errors.
    package static let files = [
        "me", ListenerSettings.file, AuthSettings.file, OutboundSettings.file, Routes.file, OutboundIPs.file,
        ResolverSettings.file, AdminSettings.file, TLSSettings.file, DKIMSettings.file, relayFile,
        RelayCertificates.file, bounceFile, HookSettings.file, HookSettings.timeoutFile,
    ]

    /// Those that are tables of typed keys: each key has a variable of the environment.
    static let keyed: [any KeyedSettings.Type] = [
        ListenerSettings.self, AuthSettings.self, OutboundSettings.self, ResolverSettings.self, AdminSettings.self,
        TLSSettings.self, DKIMSettings.self,
    ]

    static let relayFile = "relay_acl_allow"
    static let bounceFile = "outbound.bounce_message"
    /// Larger files are refused: a million routes are about half of this.
    static let largestFile = 256 << 20
    static let largestTemplate = 64 << 10

    let source: any ConfigSource
    private let hostName: String
    let environment: Environment
    private let isLocal: @Sendable (IPAddress) -> Bool

    /// - Parameters:
    ///   - hostName: the machine's own, for a missing `me`.
    ///   - environment: wins over the files.
    ///   - isLocal: whether mail can leave from an address; nil asks the system.
    package init(
        _ source: any ConfigSource,
        hostName: String,
        environment: Environment = Environment(),
        isLocal: (@Sendable (IPAddress) -> Bool)? = nil
    ) {
        self.source = source
        self.hostName = hostName
        self.environment = environment
        self.isLocal = isLocal ?? LocalAddress.canSendFrom
    }

    /// The same directory with other contents of some files.
    func replacing(_ contents: [String: [UInt8]]) -> SettingsReader {
        SettingsReader(
            ConfigOverlay(source, contents),
            hostName: hostName,
            environment: environment,
            isLocal: isLocal
        )
    }

    /// Reads and checks everything.
    ///
    /// - Throws: every error of every file.
    package func read() throws(ConfigErrors) -> Result {
        var warnings: [ConfigError] = []
        var errors: [ConfigError] = []
        var surroundings = Surroundings(source, isLocal: isLocal)
        func collect<Value>(_ body: () throws(ConfigErrors) -> Value) -> Value? {
            do throws(ConfigErrors) {
                return try body()
            } catch {
                errors += error.errors
                return nil
            }
        }
        let me = collect { () throws(ConfigErrors) in try readName(&warnings) }
        let listener = collect { () throws(ConfigErrors) in try keyed(ListenerSettings.self, &warnings) }
        let auth = collect { () throws(ConfigErrors) in try readUsers(&warnings) }
        var keyFiles: Set<String> = []
        let dkim = collect { () throws(ConfigErrors) in try readKeys(&keyFiles, &warnings) }
        var outbound = collect { () throws(ConfigErrors) in try keyed(OutboundSettings.self, &warnings) }
        let routes = collect { () throws(ConfigErrors) in
            let routes = try document(Routes.file).map { document throws(ConfigErrors) in
                try Routes.read(document, in: &surroundings)
            }
            if surroundings.hasSecrets { try guardSecret(Routes.file) }
            return routes ?? Routes()
        }
        let outboundIPs = collect { () throws(ConfigErrors) in
            try document(OutboundIPs.file).map { document throws(ConfigErrors) in
                try OutboundIPs.read(document, in: &surroundings)
            } ?? OutboundIPs()
        }
        var resolver = collect { () throws(ConfigErrors) in try keyed(ResolverSettings.self, &warnings) }
        var admin = collect { () throws(ConfigErrors) in
            let admin = try text(AdminSettings.file).map { text throws(ConfigErrors) in
                try AdminSettings.readWithTokens(INIDocument(parsing: text), warnings: &warnings)
            }
            if let key = admin?.key { try guardSecret(key) }
            return admin ?? AdminSettings()
        }
        let tls = collect { () throws(ConfigErrors) in try readTLS(listener, &warnings) }
        let certificates = collect { () throws(ConfigErrors) in try readCertificates(tls, &warnings) }
        let networks = collect { () throws(ConfigErrors) in try readNetworks(&warnings) }
        let hooks = collect { () throws(ConfigErrors) in try readHooks() }
        let template = collect { () throws(ConfigErrors) in try readTemplate() }
        let authorities = collect { () throws(ConfigErrors) in try readTrust(&outbound, &resolver) }
        if let file = admin?.certificate { admin?.certificate = source.path(of: file) }
        if let file = admin?.key { admin?.key = source.path(of: file) }
        guard errors.isEmpty, let me, let listener, let auth, let dkim, let outbound, let routes, let outboundIPs,
            let resolver, let admin, let networks, let tls, let certificates, let template, let hooks
        else { throw ConfigErrors(errors.map(blame)) }
        var settings = Settings(
            me: me,
            listener: listener,
            outbound: outbound,
            relayNetworks: networks,
            auth: auth,
            relayCertificates: certificates,
            dkim: dkim,
            routes: routes,
            outboundIPs: outboundIPs,
            resolver: resolver,
            admin: admin,
            nextHopAuthorities: authorities ?? nil,
            tls: tls,
            bounceTemplate: template
        )
        settings.hooks = hooks
        warnings += ForeignFiles.warnings(source)
        let named = settings.outbound.tlsCAFile.map { [$0] } ?? []
        return Result(
            settings: settings,
            warnings: warnings.map(blame),
            referenced: surroundings.files.union(tls.fileNames).union(keyFiles).union(named)
        )
    }

    /// An error in what the environment says is not one of the file.
    private func blame(_ error: ConfigError) -> ConfigError {
        environment.blame(error, text: try? fileText(error.file))
    }

    /// Our name alone, for tools that run before the rest is in order.
    ///
    /// - Throws: when `me` holds no host name.
    package func name() throws(ConfigErrors) -> Domain {
        var warnings: [ConfigError] = []
        return try readName(&warnings)
    }

    // MARK: - The files

    func keyed<Target: KeyedSettings>(
        _ type: Target.Type,
        _ warnings: inout [ConfigError]
    ) throws(ConfigErrors) -> Target {
        guard let document = try document(Target.file) else { return Target() }
        return try Target.read(document, warnings: &warnings)
    }

    /// `me`: the first line that is no comment.
    private func readName(_ warnings: inout [ConfigError]) throws(ConfigErrors) -> Domain {
        let lines = PlainLines.of(try text("me") ?? "")
        guard let first = lines.first else {
            let name = HostName.valid(hostName)
            if !name.name.utf8.contains(UInt8(ascii: ".")) {
                warnings.append(
                    ConfigError(
                        file: "me",
                        reason:
                            "names no host, and the machine's own name \(name) has no domain; many servers refuse it"
                    )
                )
            }
            return name
        }
        guard let domain = Domain(first.text), domain.isASCII else {
            throw ConfigErrors([
                ConfigError(
                    file: "me",
                    line: first.line,
                    reason: "\"\(ValueParsing.shown(first.text))\" is not a host name"
                )
            ])
        }
        if lines.count > 1 {
            warnings.append(ConfigError(file: "me", line: lines[1].line, reason: "only the first name counts"))
        }
        return domain
    }

    /// `tls.ini` and the files it names, which must be there for `smtps_listen`.
    private func readTLS(
        _ listener: ListenerSettings?,
        _ warnings: inout [ConfigError]
    ) throws(ConfigErrors) -> TLSSettings {
        var settings = try keyed(TLSSettings.self, &warnings)
        try settings.readFiles(source)
        guard settings.isAvailable || listener?.smtpsListen.isEmpty ?? true else {
            let reason = "smtps_listen needs a certificate; `martlet tls self-signed` makes a first one"
            throw ConfigErrors([ConfigError(file: ListenerSettings.file, reason: reason)])
        }
        return settings
    }

    /// `relay_acl_certs`: a fingerprint per line.
    private func readCertificates(
        _ tls: TLSSettings?,
        _ warnings: inout [ConfigError]
    ) throws(ConfigErrors) -> Set<[UInt8]> {
        let found = try RelayCertificates.read(try text(RelayCertificates.file) ?? "")
        if !found.isEmpty, tls?.requestsCertificate == false {
            let reason = "counts for nothing while tls.ini has not requestCert=true"
            warnings.append(ConfigError(file: RelayCertificates.file, reason: reason))
        }
        return found
    }

    /// `relay_acl_allow`: a network per line.
    private func readNetworks(_ warnings: inout [ConfigError]) throws(ConfigErrors) -> [IPNetwork] {
        var networks: [IPNetwork] = []
        var errors: [ConfigError] = []
        for line in PlainLines.of(try text(Self.relayFile) ?? "") {
            guard let network = IPNetwork(line.text) else {
                errors.append(
                    ConfigError(
                        file: Self.relayFile,
                        line: line.line,
                        reason:
                            "\"\(ValueParsing.shown(line.text))\" is not an address or a network such as 192.0.2.0/24"
                    )
                )
                continue
            }
            if network.prefix == 0 {
                warnings.append(
                    ConfigError(
                        file: Self.relayFile,
                        line: line.line,
                        reason: "\(network) lets everybody relay: an open relay"
                    )
                )
            }
            networks.append(network)
        }
        guard errors.isEmpty else { throw ConfigErrors(Array(errors.prefix(50))) }
        return networks
    }

    /// `hooks.ini`, and `plugin_timeout` with it.
    private func readHooks() throws(ConfigErrors) -> HookSettings {
        var settings = HookSettings()
        if let text = try text(HookSettings.file) { settings = try HookSettings.read(INIDocument(parsing: text)) }
        if let text = try text(HookSettings.timeoutFile), let seconds = try HookSettings.readTimeout(text) {
            settings.timeout = seconds
        }
        try settings.checkTimeouts()
        return settings
    }

    private func readTemplate() throws(ConfigErrors) -> String {
        guard let text = try text(Self.bounceFile) else { return "" }
        guard text.utf8.count <= Self.largestTemplate else {
            throw ConfigErrors([ConfigError(file: Self.bounceFile, reason: "larger than \(Self.largestTemplate) bytes")]
            )
        }
        guard !text.utf8.contains(0) else {
            throw ConfigErrors([ConfigError(file: Self.bounceFile, reason: "holds a NUL")])
        }
        return text
    }

    private func document(_ file: String) throws(ConfigErrors) -> INIDocument? {
        try text(file).map { INIDocument(parsing: $0) }
    }

    /// The text of a file as the environment would have it; nil when it is missing.
    func text(_ file: String) throws(ConfigErrors) -> String? {
        environment.overlay(file, try fileText(file))
    }

    /// The text of a file; nil when it is missing.
    func fileText(_ file: String) throws(ConfigErrors) -> String? {
        let bytes: [UInt8]?
        do throws(ConfigError) {
            bytes = try source.contents(of: file, atMost: Self.largestFile)
        } catch {
            throw ConfigErrors([error])
        }
        guard let bytes else { return nil }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ConfigErrors([ConfigError(file: file, line: Self.firstInvalidLine(bytes), reason: "is not UTF-8")])
        }
        return text
    }

    private static func firstInvalidLine(_ bytes: [UInt8]) -> Int {
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        return (lines.firstIndex { String(validating: $0, as: UTF8.self) == nil } ?? 0) + 1
    }
}

// SettingsReader.swift — a configuration directory into Settings, part by part.
//
// A missing file means its defaults. A file that is there and cannot be read or understood is an error: nothing is ever
// started on open defaults because a file was broken (reliability invariant 7), and while the relay runs a broken part
// stays as it was.

package import Mail

/// Reads the files of a configuration directory, part by part.
package struct SettingsReader: Sendable {
    /// What a successful read of everything gives.
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
        LimitSettings.file,
        ResolverSettings.file, AdminSettings.file, TLSSettings.file, EventSettings.file, DKIMSettings.file, relayFile,
        RelayCertificates.file, AliasFile.name, bounceFile, HookSettings.file, HookSettings.timeoutFile,
        StorageSettings.file, BounceClasses.file, SuppressionSettings.file, LoginSettings.file, MilterSettings.file,
        Rewriting.file, ArchiveSettings.file,
    ]

    /// Those that are tables of typed keys: each key has a variable of the environment.
    static let keyed: [any KeyedSettings.Type] = [
        ListenerSettings.self, AuthSettings.self, OutboundSettings.self, ResolverSettings.self, EventSettings.self,
        AdminSettings.self,
        TLSSettings.self, DKIMSettings.self, StorageSettings.self, SuppressionSettings.self,
    ]

    static let relayFile = "relay_acl_allow"
    static let bounceFile = "outbound.bounce_message"
    /// Longer tables are refused: a million routes are about half of this.
    static let largestFile = 256 << 20
    /// Larger files are no values of variables.
    static let largestValue = 1 << 20
    private static let loopback = ["127.0.0.0/8", "::1"].compactMap { IPNetwork($0) }
    static let largestTemplate = 64 << 10

    let source: any ConfigSource
    private let hostName: String
    /// As it was said last; files that its variables name may say something else now.
    private(set) var environment: Environment
    let isLocal: @Sendable (IPAddress) -> Bool
    let examine: @Sendable (TLSSettings) throws(ConfigErrors) -> Void

    /// - Parameters:
    ///   - hostName: the machine's own, for a missing `me`.
    ///   - environment: wins over the files.
    ///   - isLocal: whether mail can leave from an address; nil asks the system.
    ///   - examine: whether the files that `tls.ini` names fit together.
    package init(
        _ source: any ConfigSource,
        hostName: String,
        environment: Environment = Environment(),
        isLocal: (@Sendable (IPAddress) -> Bool)? = nil,
        examining examine: @escaping @Sendable (TLSSettings) throws(ConfigErrors) -> Void = { _ in }
    ) {
        self.source = source
        self.hostName = hostName
        self.environment = environment
        self.isLocal = isLocal ?? LocalAddress.canSendFrom
        self.examine = examine
    }

    /// The same directory with other contents of some files.
    func replacing(_ contents: [String: [UInt8]]) -> SettingsReader {
        SettingsReader(
            ConfigOverlay(source, contents),
            hostName: hostName,
            environment: environment,
            isLocal: isLocal,
            examining: examine
        )
    }

    /// Reads and checks everything.
    ///
    /// - Throws: every error of every file.
    package func read() throws(ConfigErrors) -> Result {
        let reading = read(ConfigPart.allCases, over: defaults, isFirst: true)
        guard reading.errors.isEmpty else { throw ConfigErrors(reading.errors) }
        return Result(settings: reading.settings, warnings: reading.warnings, referenced: reading.referenced)
    }

    /// What an empty directory says.
    var defaults: Settings { Settings(me: HostName.valid(hostName)) }

    /// Reads some parts.
    ///
    /// - Parameters:
    ///   - parts: in the order of ``ConfigPart``.
    ///   - settings: what holds for all other parts, and for those that are broken.
    ///   - isFirst: nothing is in force yet, so nobody can tell which of two files changed.
    func read(_ parts: [ConfigPart], over settings: Settings, isFirst: Bool = false) -> ConfigReading {
        guard !environment.files.isEmpty else { return readFiles(parts, over: settings, isFirst: isFirst) }
        var fresh = self
        do throws(ConfigErrors) {
            fresh.environment = try environment.again { path throws(ConfigError) in
                try source.contents(of: path, atMost: Self.largestValue)
            }
        } catch {
            // What variables say of these parts cannot be known: they stay as they are, and one of them says why.
            var reading = readFiles(parts.filter { !isPinned($0) }, over: settings, isFirst: isFirst)
            guard let part = parts.first(where: isPinned) else { return reading }
            reading.findings[part] = ConfigFinding(errors: error.errors, referenced: environment.files)
            return reading
        }
        return fresh.readFiles(parts, over: settings, isFirst: isFirst)
    }

    /// Whether variables say something of a part.
    private func isPinned(_ part: ConfigPart) -> Bool {
        part == .admin || environment.pins.contains { part.files.contains($0.file) }
    }

    private func readFiles(_ parts: [ConfigPart], over settings: Settings, isFirst: Bool) -> ConfigReading {
        var reading = ConfigReading(settings: settings)
        reading.settings.environment = environment
        // Whatever the file says: a token that was asked for guards the API.
        if parts.contains(.admin) { reading.settings.admin.environmentToken = environment.token }
        for part in parts { read(part, &reading) }
        let machine = HostName.valid(hostName)
        reading.settings.machine = machine == reading.settings.me ? nil : machine
        reconcile(&reading, before: isFirst ? nil : settings)
        for (part, finding) in reading.findings {
            var blamed = finding
            blamed.errors = finding.errors.map(blame)
            blamed.warnings = finding.warnings.map(blame)
            reading.findings[part] = blamed
        }
        if parts.count == ConfigPart.allCases.count {
            reading.others = ForeignFiles.warnings(source) + silence(reading.settings) + reading.settings.strangers
        }
        return reading
    }

    private func read(_ part: ConfigPart, _ reading: inout ConfigReading) {
        var finding = ConfigFinding()
        var settings = reading.settings
        do throws(ConfigErrors) {
            try read(part, into: &settings, &finding)
            reading.settings = settings
        } catch {
            finding.errors = error.errors
        }
        if isPinned(part) { finding.referenced.formUnion(environment.files) }
        reading.findings[part] = finding
        guard part == .outbound, let text = try? text(OutboundSettings.file) else { return }
        let words = SwitchWords(INIDocument(parsing: text))
        reading.switchWords = words
        // A broken file can stop delivery all the same; it never starts it again.
        guard !finding.errors.isEmpty, let stop = words.stop else { return }
        reading.settings.outboundPlaces["disabled"] = outboundPlaces()["disabled"]
        reading.settings.outbound.isDisabled = stop.isDisabled
        reading.settings.outbound.disabledReason = stop.reason
    }

    /// - Parameter finding: learns what is odd and which files are named, also when this throws.
    private func read(
        _ part: ConfigPart,
        into settings: inout Settings,
        _ finding: inout ConfigFinding
    ) throws(ConfigErrors) {
        switch part {
        case .me: settings.me = try readName(&finding.warnings)
        case .listener: settings.listener = try readListener(&finding.warnings)
        case .auth: settings.auth = try readUsers(&finding.warnings)
        case .dkim: settings.dkim = try readKeys(&finding.referenced, &finding.warnings)
        case .outbound:
            settings.outboundPlaces = outboundPlaces()
            (settings.outbound, settings.nextHopAuthorities) = try readOutbound(&finding)
        case .routes: settings.routes = try readRoutes(&finding)
        case .outboundIPs:
            var surroundings = Surroundings(source, environment: environment, isLocal: isLocal)
            let document = try document(OutboundIPs.file) ?? INIDocument(parsing: "")
            settings.outboundIPs = try OutboundIPs.read(document, in: &surroundings)
        case .resolver: settings.resolver = try readResolver(&finding)
        case .admin:
            settings.admin = try readAdmin(&finding)
            settings.admin.environmentToken = environment.token
        case .tls: settings.tls = try readTLS(&finding)
        case .relayCertificates:
            settings.relayCertificates = try readCertificates(settings.tls, &finding.warnings)
        case .relayNetworks: settings.relayNetworks = try readNetworks(&finding.warnings)
        case .hooks: settings.hooks = try readHooks()
        case .aliases: settings.aliases = try AliasFile.read(try text(AliasFile.name) ?? "", &finding.warnings)
        case .bounceTemplate: settings.bounceTemplate = try readTemplate(&finding.warnings)
        case .events: settings.events = try readEvents(&finding)
        case .bounceClasses: settings.replyClasses = try replyClasses()
        case .suppressions: settings.suppressions = try keyed(SuppressionSettings.self, &finding.warnings)
        case .storage: settings.storage = try readStorage(&finding)
        case .logins: settings.logins = try readLogins()
        case .rewriting:
            settings.rewriting = try readRewriting(&finding)
        case .archive:
            settings.archive = try ArchiveSettings.read(try document(ArchiveSettings.file) ?? INIDocument(parsing: ""))
        case .limits:
            settings.limits = try LimitSettings.read(try document(LimitSettings.file) ?? INIDocument(parsing: ""))
        case .milters:
            settings.milters = try MilterSettings.read(try document(MilterSettings.file) ?? INIDocument(parsing: ""))
        }
    }

    /// What a missing line means for all mail, where nothing else says otherwise.
    private func silence(_ settings: Settings) -> [ConfigError] {
        guard !settings.outbound.isTLSEnabled, let text = try? text(OutboundSettings.file) ?? "",
            INIDocument(parsing: text).value("enable_tls", in: nil) == nil, !settings.routes.decidesTLS
        else { return [] }
        return [
            ConfigError(
                file: OutboundSettings.file,
                reason:
                    "has no enable_tls, so mail leaves in the clear wherever no route says tls; write enable_tls = true, "
                    + "or enable_tls = false if that is meant"
            )
        ]
    }

    /// What two files must agree about: the one that changed is to blame, and what it said before stays.
    private func reconcile(_ reading: inout ConfigReading, before: Settings?) {
        func isAtOdds(_ settings: Settings) -> Bool {
            !settings.listener.securePlaces.isEmpty && !settings.tls.isAvailable
        }
        guard isAtOdds(reading.settings) else { return }
        if let before, before.listener == reading.settings.listener {
            let reason = "there is no certificate, which smtps_listen of smtp.ini needs"
            reading.findings[.tls, default: ConfigFinding()].errors.append(
                ConfigError(file: TLSSettings.file, reason: reason)
            )
            reading.settings.tls = before.tls
            return
        }
        let reason = "smtps_listen needs a certificate; `martlet tls self-signed` makes a first one"
        reading.findings[.listener, default: ConfigFinding()].errors.append(
            ConfigError(file: ListenerSettings.file, reason: reason)
        )
        guard let before else { return }
        reading.settings.listener = before.listener
        if isAtOdds(reading.settings) { reading.settings.tls = before.tls }
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

    /// `smtp.ini` for root, who binds sockets and becomes somebody before anything else is read.
    ///
    /// - Throws: without a word of the file: it may be a link to one that root alone may read.
    package func listenerWithoutWords() throws(ConfigErrors) -> ListenerSettings {
        var warnings: [ConfigError] = []
        do throws(ConfigErrors) {
            return try keyed(ListenerSettings.self, &warnings)
        } catch {
            throw ConfigErrors(
                error.errors.map(blame).map { error in
                    let variable =
                        error.file.isSame(octets: Environment.name) ? error.reason.split(octet: ":").first : nil
                    let reason = "is not understood; martlet check says why"
                    return ConfigError(
                        file: error.file,
                        line: error.line,
                        reason: variable.map { "\($0) \(reason)" } ?? reason
                    )
                }
            )
        }
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
        guard let domain = Domain(first.text) else {
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

    /// `routes.ini` and the secrets it names.
    private func readRoutes(_ finding: inout ConfigFinding) throws(ConfigErrors) -> Routes {
        guard let document = try document(Routes.file) else { return Routes() }
        var surroundings = Surroundings(source, environment: environment, isLocal: isLocal)
        defer { finding.referenced = surroundings.files }
        let routes = try Routes.read(document, in: &surroundings)
        if surroundings.hasSecrets { try guardSecret(Routes.file) }
        return routes
    }

    private func readAdmin(_ finding: inout ConfigFinding) throws(ConfigErrors) -> AdminSettings {
        guard let document = try document(AdminSettings.file) else { return AdminSettings() }
        var admin = try AdminSettings.readWithTokens(document, warnings: &finding.warnings)
        if let key = admin.key {
            finding.referenced.insert(key)
            try guardSecret(key)
        }
        admin.certificate = admin.certificate.map { source.path(of: $0) }
        admin.key = admin.key.map { source.path(of: $0) }
        return admin
    }

    /// `relay_acl_certs`: a fingerprint per line.
    private func readCertificates(
        _ tls: TLSSettings,
        _ warnings: inout [ConfigError]
    ) throws(ConfigErrors) -> Set<[UInt8]> {
        let found = try RelayCertificates.read(try text(RelayCertificates.file) ?? "")
        if !found.isEmpty, !tls.requestsCertificate {
            let reason = "counts for nothing while tls.ini has not requestCert=true"
            warnings.append(ConfigError(file: RelayCertificates.file, reason: reason))
        }
        return found
    }

    /// `relay_acl_allow`: a network per line; loopback without such a file, and nobody with an empty one.
    private func readNetworks(_ warnings: inout [ConfigError]) throws(ConfigErrors) -> [IPNetwork] {
        guard let text = try text(Self.relayFile) else { return Self.loopback }
        var networks: [IPNetwork] = []
        var errors: [ConfigError] = []
        for line in PlainLines.of(text) {
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
        // A variable names the networks that a container serves; what runs inside of it, such as its sendmail, is not
        // what anybody meant to shut out.
        if environment.pins.contains(where: { $0.file == Self.relayFile }) {
            networks += Self.loopback.filter { !networks.contains($0) }
        }
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

    private func readTemplate(_ warnings: inout [ConfigError]) throws(ConfigErrors) -> String {
        guard let text = try text(Self.bounceFile) else { return "" }
        guard text.utf8.count <= Self.largestTemplate else {
            throw ConfigErrors([ConfigError(file: Self.bounceFile, reason: "larger than \(Self.largestTemplate) bytes")]
            )
        }
        for (line, name) in BounceField.unknown(in: text) {
            let names = BounceField.allCases.map { "{\($0.rawValue)}" }
            let hint = NearestName.hint(for: "{\(name)}", among: names)
            warnings.append(
                ConfigError(
                    file: Self.bounceFile,
                    line: line,
                    reason: "{\(ValueParsing.shown(name))} is no field and stays as it is\(hint); there are "
                        + names.joined(separator: " ")
                )
            )
        }
        return text
    }

    func document(_ file: String) throws(ConfigErrors) -> INIDocument? {
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
            bytes = try source.contents(of: file, atMost: Self.largest(file))
        } catch {
            throw ConfigErrors([error])
        }
        guard let bytes else { return nil }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ConfigErrors([ConfigError(file: file, line: Self.firstInvalidLine(bytes), reason: "is not UTF-8")])
        }
        // What a power cut leaves of a file that was just written, on some file systems.
        if let place = bytes.firstIndex(of: 0) {
            let line = bytes[..<place].count { $0 == UInt8(ascii: "\n") } + 1
            throw ConfigErrors([ConfigError(file: file, line: line, reason: "holds a NUL")])
        }
        return text
    }

    /// Bytes of the longest file that is read: tables may be long, everything else is short.
    static func largest(_ file: String) -> Int {
        [Routes.file, OutboundIPs.file, AuthSettings.file, relayFile].contains(file) ? largestFile : largestFile >> 6
    }

    private static func firstInvalidLine(_ bytes: [UInt8]) -> Int {
        let lines = bytes.split(octet: "\n", omittingEmpty: false)
        return (lines.firstIndex { String(validating: $0, as: UTF8.self) == nil } ?? 0) + 1
    }
}

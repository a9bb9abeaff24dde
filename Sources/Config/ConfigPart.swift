// ConfigPart.swift — the parts of the configuration that stand alone: each is read, judged and kept by itself.
//
// A typo in one file must not keep a word of another from being heard. So a part is good or broken as a whole; a broken one
// leaves in force what it said before, and all others go on.

/// A file, or a few that mean something only together.
package enum ConfigPart: Hashable, Sendable, CaseIterable {
    case me, listener, auth, dkim, outbound, routes, outboundIPs, resolver, admin, tls, relayCertificates
    case relayNetworks, hooks, aliases, bounceTemplate, events, bounceClasses, suppressions, limits, logins
    case storage, milters, rewriting, archive

    /// The file that the part is called after.
    package var file: String {
        switch self {
        case .me: "me"
        case .listener: ListenerSettings.file
        case .auth: AuthSettings.file
        case .dkim: DKIMSettings.file
        case .outbound: OutboundSettings.file
        case .routes: Routes.file
        case .outboundIPs: OutboundIPs.file
        case .resolver: ResolverSettings.file
        case .admin: AdminSettings.file
        case .tls: TLSSettings.file
        case .relayCertificates: RelayCertificates.file
        case .relayNetworks: SettingsReader.relayFile
        case .hooks: HookSettings.file
        case .aliases: AliasFile.name
        case .bounceTemplate: SettingsReader.bounceFile
        case .events: EventSettings.file
        case .bounceClasses: BounceClasses.file
        case .suppressions: SuppressionSettings.file
        case .storage: StorageSettings.file
        case .limits: LimitSettings.file
        case .logins: LoginSettings.file
        case .milters: MilterSettings.file
        case .rewriting: Rewriting.file
        case .archive: ArchiveSettings.file
        }
    }

    /// Every file of the list that belongs to it; what these name in turn is found when they are read.
    var files: [String] { self == .hooks ? [HookSettings.file, HookSettings.timeoutFile] : [file] }

    /// The part that a file belongs to.
    package init(_ file: ConfigFile) {
        self =
            switch file {
            case .outbound: .outbound
            case .routes: .routes
            case .outboundIPs: .outboundIPs
            case .admin: .admin
            case .passwords: .auth
            case .dkim: .dkim
            case .listener: .listener
            case .relayNetworks: .relayNetworks
            case .events: .events
            case .limits: .limits
            case .archive: .archive
            case .rewriting: .rewriting
            }
    }
}

/// What a look at one part found.
struct ConfigFinding: Hashable, Sendable {
    /// Empty for a good part.
    var errors: [ConfigError] = []
    /// What was understood but is probably not what was meant.
    var warnings: [ConfigError] = []
    /// Files that the part names, whether they are there or not: they are watched too.
    var referenced: Set<String> = []
}

/// What a look at the files came to.
struct ConfigReading: Sendable {
    /// Good parts as the files have them now, broken ones as they were.
    var settings: Settings
    /// Of the parts that were read.
    var findings: [ConfigPart: ConfigFinding] = [:]
    /// What `outbound.ini` says about the switch of delivery; nil when it was not read or cannot be.
    var switchWords: SwitchWords?
    /// About files that are no part: those of a Haraka directory that mean nothing here.
    var others: [ConfigError] = []

    var errors: [ConfigError] { ConfigPart.allCases.flatMap { findings[$0]?.errors ?? [] } }

    var warnings: [ConfigError] { ConfigPart.allCases.flatMap { findings[$0]?.warnings ?? [] } + others }

    var referenced: Set<String> { findings.values.reduce(into: []) { $0.formUnion($1.referenced) } }
}

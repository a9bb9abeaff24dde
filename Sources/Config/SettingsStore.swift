// SettingsStore.swift — the settings in force: a snapshot for everybody, replaced part by part when files change.
//
// Guarantees: a part that became invalid never replaces what is in force (reliability invariant 7), is reported once, named
// until it is mended, and keeps no other part back.

package import Loop
package import Mail
import Synchronization

/// Holds the last good ``Settings`` and looks for changed files when it is told to.
package final class SettingsStore: Sendable {
    /// What a look at the files came to.
    package struct Reload: Hashable, Sendable {
        /// New settings are in force.
        package var isChanged = false
        /// What looks odd about the files that were read.
        package var warnings: [ConfigError] = []
        /// What is broken; said once for the same trouble.
        package var broken: [ConfigError] = []
        /// Parts that are in order again.
        package var mended: [ConfigPart] = []

        /// There is nothing to tell.
        package var isEmpty: Bool { self == Reload() }
    }

    /// What is known of the files; locked for as long as a reload takes, which only another reload or an edit waits for.
    struct Watch {
        /// Of the versions in force, or of the broken ones reported.
        ///
        /// Versions younger than ``settling`` are left out, so that they are read once more.
        var stamps: [String: FileStamp] = [:]
        /// Files that were there and are gone; believed when they are still gone at the next look.
        var gone: Set<String> = []
        var subscribers: [@Sendable (Settings) -> Void] = []
        var editListeners: [@Sendable (Edit) -> Void] = []
        /// Versions that we wrote ourselves: nobody is still writing them.
        var own: [String: FileStamp] = [:]
        /// What the files say, or said last where they are broken.
        var settings: Settings
        /// What the last look at each part found.
        var findings: [ConfigPart: ConfigFinding]
        /// What `outbound.ini` says of the switch, or said when it could be read last.
        var switchWords: SwitchWords
        /// The switch that stands above it.
        var kept: KeptSwitch?
        /// When broken parts are read again though no file of theirs changed: an address may have come back.
        var nextTry: Timestamp

        /// The files of a part, those that it names included.
        func files(of part: ConfigPart) -> Set<String> {
            Set(part.files).union(findings[part]?.referenced ?? [])
        }

        func isBroken(_ part: ConfigPart) -> Bool { !(findings[part]?.errors.isEmpty ?? true) }

        /// What is to be in force.
        var effective: Settings {
            guard let kept else { return settings }
            var settings = settings
            settings.outbound.isDisabled = kept.position.isDisabled
            settings.outbound.disabledReason = kept.position.reason
            settings.outboundPlaces["disabled"] = SwitchFile.name
            return settings
        }
    }

    /// Milliseconds a file must have been left alone before it is read, so that one that is being written is not.
    private static let settling: Int64 = 250
    /// Milliseconds between two looks at a broken part whose files do not change.
    private static let patience: Int64 = 30_000

    /// What looked odd at start.
    package let warnings: [ConfigError]
    /// What pins keys, so that an edit of the file would change nothing.
    package var environment: Environment { current.environment }
    let source: any ConfigSource
    let reader: SettingsReader
    let switchFile: SwitchFile?
    /// What everybody reads; replaced here alone.
    package let inForce: InForce<Settings>
    /// How the files are.
    package let health: InForce<ConfigHealth>
    let watch: Mutex<Watch>
    /// Large files as they were read last.
    let shelf = Mutex<[ConfigFile: Shelved]>([:])
    /// Whether mail can leave from an address, as the files are judged.
    package var isLocal: LocalAddressCheck { reader.isLocal }

    /// Reads everything.
    ///
    /// - Parameters:
    ///   - environment: wins over the files.
    ///   - switchFile: where the switch of delivery is kept when `outbound.ini` cannot be written; nil: nowhere.
    ///   - allowsBroken: broken parts have their defaults: for tools that edit one file.
    ///   - examine: whether the files that `tls.ini` names fit together.
    /// - Throws: every error of every file; then nothing may be started.
    package init(
        _ source: any ConfigSource,
        hostName: String,
        environment: Environment = Environment(),
        switchFile: SwitchFile? = nil,
        allowsBroken: Bool = false,
        examining examine: @escaping @Sendable (TLSSettings) throws(ConfigErrors) -> Void = { _ in },
        now: Timestamp
    ) throws(ConfigErrors) {
        self.source = source
        self.switchFile = switchFile
        reader = SettingsReader(source, hostName: hostName, environment: environment, examining: examine)
        let before = Self.stamps(of: source, [])
        let reading = reader.read(ConfigPart.allCases, over: reader.defaults, isFirst: true)
        guard reading.errors.isEmpty || allowsBroken else { throw ConfigErrors(reading.errors) }
        let stamps = before.merging(Self.stamps(of: source, reading.referenced)) { first, _ in first }
            .filter { Self.isSettled($0.value, now) }
        let words = reading.switchWords ?? SwitchWords(nil)
        var watch = Watch(
            stamps: stamps,
            settings: reading.settings,
            findings: reading.findings,
            switchWords: words,
            kept: switchFile?.load(words),
            nextTry: now
        )
        var warnings = reading.warnings
        if let kept = watch.kept {
            warnings.append(Self.remark(kept, isOver: kept.words != words.digest))
            if kept.words != words.digest {
                watch.kept = nil
                try? switchFile?.remove()
            }
        }
        self.warnings = warnings
        inForce = InForce(watch.effective)
        health = InForce(ConfigHealth(watch, reading.settings.environment))
        self.watch = Mutex(watch)
    }

    /// The settings in force, copied.
    package var current: Settings { inForce.current }

    /// Calls `body` after each change, on the thread that reloads.
    ///
    /// It must not reload in turn.
    package func onChange(_ body: @escaping @Sendable (Settings) -> Void) {
        watch.withLock { $0.subscribers.append(body) }
    }

    /// Calls `body` after each edit from within, on the thread that edits: for the log.
    package func onEdit(_ body: @escaping @Sendable (Edit) -> Void) {
        watch.withLock { $0.editListeners.append(body) }
    }

    /// Reads the parts again of which a file has another stamp than when it was last read.
    ///
    /// Blocks on the disk. Call it once a second; a file that is being written is left for the next call, and keeps back
    /// its own part alone.
    package func reloadIfChanged(now: Timestamp) -> Reload {
        watch.withLock { watch in
            let found = stamps(watch)
            let gone = Set(watch.stamps.keys).subtracting(found.keys)
            defer { watch.gone = gone }
            let isTimeToRetry = now >= watch.nextTry
            var parts: [ConfigPart] = []
            var waiting: Set<String> = []
            for part in ConfigPart.allCases {
                let changed = watch.files(of: part).filter { found[$0] != watch.stamps[$0] }
                let isQuiet = changed.allSatisfy { file in
                    guard let stamp = found[file] else { return watch.gone.contains(file) }
                    return watch.own[file] == stamp || Self.isSettled(stamp, now)
                }
                if !isQuiet {
                    waiting.formUnion(changed)
                } else if !changed.isEmpty || watch.isBroken(part) && isTimeToRetry {
                    parts.append(part)
                }
            }
            guard !parts.isEmpty else { return Reload() }
            return reload(parts, &watch, found.filter { !waiting.contains($0.key) }, now)
        }
    }

    /// Reads everything now, whatever the stamps say: SIGHUP.
    ///
    /// What is broken is said again.
    package func reload(now: Timestamp) -> Reload {
        watch.withLock { watch in
            let found = stamps(watch).filter { Self.isSettled($0.value, now) }
            let known = ConfigPart.allCases.filter { watch.isBroken($0) }
            for part in known { watch.findings[part]?.errors = [] }
            var reload = reload(ConfigPart.allCases, &watch, found, now)
            reload.mended = known.filter { !watch.isBroken($0) }
            return reload
        }
    }

    /// - Parameter stamps: taken before the files were read: a change in between shows at the next look.
    private func reload(
        _ parts: [ConfigPart],
        _ watch: inout Watch,
        _ stamps: [String: FileStamp],
        _ now: Timestamp
    ) -> Reload {
        for file in parts.reduce(into: Set(), { $0.formUnion(watch.files(of: $1)) }) {
            watch.stamps[file] = stamps[file]
        }
        let old = watch.findings
        let reading = reader.read(parts, over: watch.settings)
        watch.nextTry = now.adding(milliseconds: Self.patience)
        var reload = Reload()
        for part in ConfigPart.allCases {
            guard let errors = reading.findings[part]?.errors, errors != old[part]?.errors ?? [] else { continue }
            reload.broken += errors
            if errors.isEmpty { reload.mended.append(part) }
        }
        if let over = take(reading, &watch) { reload.warnings.append(over) }
        reload.isChanged = publish(&watch)
        if reload.isChanged { reload.warnings += reading.warnings }
        return reload
    }

    /// Remembers what was read.
    ///
    /// - Returns: that the kept switch ended with it.
    func take(_ reading: ConfigReading, _ watch: inout Watch) -> ConfigError? {
        watch.settings = reading.settings
        var named: Set<String> = []
        for (part, finding) in reading.findings {
            named.formUnion(finding.referenced.subtracting(watch.findings[part]?.referenced ?? []))
            watch.findings[part] = finding
        }
        let all = watch.findings.values.reduce(into: Set(SettingsReader.files)) { $0.formUnion($1.referenced) }
        watch.stamps = watch.stamps.filter { all.contains($0.key) }
        for file in named where watch.stamps[file] == nil { watch.stamps[file] = source.stamp(of: file) }
        guard let words = reading.switchWords else { return nil }
        watch.switchWords = words
        guard let kept = watch.kept, kept.words != words.digest else { return nil }
        // A broken file stops, and never starts again.
        guard !watch.isBroken(.outbound) || watch.settings.outbound.isDisabled else { return nil }
        watch.kept = nil
        try? switchFile?.remove()
        return Self.remark(kept, isOver: true)
    }

    /// Puts in force what is known now.
    ///
    /// - Returns: false when that is in force already.
    @discardableResult
    func publish(_ watch: inout Watch) -> Bool {
        let settings = watch.effective
        health.replace(with: ConfigHealth(watch, settings.environment))
        // Also when they are equal: two texts may be equal to Swift and different in octets, passwords among them.
        guard inForce.replace(with: settings) != settings else { return false }
        for subscriber in watch.subscribers { subscriber(settings) }
        return true
    }

    private static func remark(_ kept: KeptSwitch, isOver: Bool) -> ConfigError {
        let word = kept.position.isDisabled ? "disabled = true" : "disabled = false"
        let reason =
            isOver
            ? "says otherwise than before, so that \(word) in the data directory is over"
            : "\(word) is kept in the data directory and stands above this file until it says otherwise"
        return ConfigError(file: OutboundSettings.file, reason: reason)
    }

    /// What the watched files look like now.
    func stamps(_ watch: Watch) -> [String: FileStamp] {
        Self.stamps(of: source, watch.findings.values.reduce(into: []) { $0.formUnion($1.referenced) })
    }

    private static func stamps(of source: any ConfigSource, _ others: Set<String>) -> [String: FileStamp] {
        var stamps: [String: FileStamp] = [:]
        for file in SettingsReader.files + others { stamps[file] = source.stamp(of: file) }
        return stamps
    }

    /// False for the last moments before now; a file from the future was changed under another clock.
    static func isSettled(_ stamp: FileStamp, _ now: Timestamp) -> Bool {
        let age = now.milliseconds &- stamp.modified / 1_000_000
        return age < 0 || age >= settling
    }
}

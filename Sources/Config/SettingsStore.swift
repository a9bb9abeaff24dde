// SettingsStore.swift — the settings in force: a snapshot for everybody, replaced when files change.
//
// A file that became invalid never replaces what is in force (reliability invariant 7); it is reported once.

package import Loop
package import Mail
import Synchronization

/// Holds the last good ``Settings`` and looks for changed files when it is told to.
package final class SettingsStore: Sendable {
    /// What a look at the files came to.
    package enum Reload: Sendable {
        case unchanged
        /// New settings are in force; what looks odd about them.
        case changed(warnings: [ConfigError])
        /// The files are broken and the old settings stay.
        ///
        /// Said once for the same trouble.
        case invalid(ConfigErrors)
    }

    /// What is known of the files; locked for as long as a reload takes, which only another reload waits for.
    struct Watch {
        /// Of the versions in force, or of the broken ones reported.
        ///
        /// Versions younger than ``settling`` are left out, so that they are read once more.
        var stamps: [String: FileStamp]
        /// Files that were there and are gone; believed when they are still gone at the next look.
        var gone: Set<String> = []
        var reported: ConfigErrors?
        var subscribers: [@Sendable (Settings) -> Void] = []
        var editListeners: [@Sendable (Edit) -> Void] = []
        /// Versions that we wrote ourselves: nobody is still writing them.
        var own: [String: FileStamp] = [:]
        /// Files outside of the list that were read too: secrets.
        var referenced: Set<String> = []
    }

    /// Milliseconds a file must have been left alone before it is read, so that one that is being written is not.
    private static let settling: Int64 = 250

    /// What looked odd at start.
    package let warnings: [ConfigError]
    /// What pins keys, so that an edit of the file would change nothing.
    package let environment: Environment
    let source: any ConfigSource
    let reader: SettingsReader
    /// What everybody reads; replaced here alone.
    package let inForce: InForce<Settings>
    let watch: Mutex<Watch>

    /// Reads everything.
    ///
    /// - Parameter environment: wins over the files.
    /// - Throws: every error of every file; then nothing may be started.
    package init(
        _ source: any ConfigSource,
        hostName: String,
        environment: Environment = Environment(),
        now: Timestamp
    ) throws(ConfigErrors) {
        self.source = source
        self.environment = environment
        reader = SettingsReader(source, hostName: hostName, environment: environment)
        let before = Self.stamps(of: source, [])
        let result = try reader.read()
        let stamps = before.merging(Self.stamps(of: source, result.referenced)) { first, _ in first }
            .filter { Self.isSettled($0.value, now) }
        warnings = result.warnings
        inForce = InForce(result.settings)
        watch = Mutex(Watch(stamps: stamps, referenced: result.referenced))
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

    /// Reads the files again if one of them has another stamp than when it was last read.
    ///
    /// Blocks on the disk. Call it once a second; a file that is being written is left for the next call.
    package func reloadIfChanged(now: Timestamp) -> Reload {
        watch.withLock { watch in
            let found = stamps(watch)
            let gone = Set(watch.stamps.keys).subtracting(found.keys)
            defer { watch.gone = gone }
            guard found != watch.stamps, gone.isSubset(of: watch.gone) else { return .unchanged }
            let fresh = found.filter { watch.stamps[$0.key] != $0.value }
            guard fresh.allSatisfy({ watch.own[$0.key] == $0.value || Self.isSettled($0.value, now) }) else {
                return .unchanged
            }
            return reload(&watch, found)
        }
    }

    /// Reads the files now, whatever their stamps say: SIGHUP.
    package func reload(now: Timestamp) -> Reload {
        watch.withLock { watch in
            watch.reported = nil
            return reload(&watch, stamps(watch).filter { Self.isSettled($0.value, now) })
        }
    }

    private func reload(_ watch: inout Watch, _ stamps: [String: FileStamp]) -> Reload {
        // Taken before the files were read: a change in between shows at the next look.
        watch.stamps = stamps
        let result: SettingsReader.Result
        do throws(ConfigErrors) {
            result = try reader.read()
        } catch {
            guard watch.reported != error else { return .unchanged }
            watch.reported = error
            return .invalid(error)
        }
        watch.reported = nil
        return publish(result, &watch) ? .changed(warnings: result.warnings) : .unchanged
    }

    /// Puts settings in force.
    ///
    /// - Returns: false when they are those that are in force.
    @discardableResult
    func publish(_ result: SettingsReader.Result, _ watch: inout Watch) -> Bool {
        let fresh = result.referenced.subtracting(watch.referenced)
        for (file, stamp) in Self.stamps(of: source, fresh) where fresh.contains(file) { watch.stamps[file] = stamp }
        for file in watch.referenced.subtracting(result.referenced) { watch.stamps[file] = nil }
        watch.referenced = result.referenced
        guard inForce.ask({ $0 != result.settings }) else { return false }
        inForce.replace(with: result.settings)
        for subscriber in watch.subscribers { subscriber(result.settings) }
        return true
    }

    /// What the watched files look like now.
    func stamps(_ watch: Watch) -> [String: FileStamp] { Self.stamps(of: source, watch.referenced) }

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

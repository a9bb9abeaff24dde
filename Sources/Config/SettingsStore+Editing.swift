// SettingsStore+Editing.swift — an edit from within: read, change, check everything, write, publish.
//
// Guarantees: what a person wrote into the file is never lost, because every edit begins with the file as it is on disk;
// nothing is written unless the whole configuration is valid with it; when an edit returns, the file is durable and the
// new settings are in force. Edits are serialised, among processes too.

import Glibc
package import Mail
import Synchronization

/// What an edit came to.
package struct Edit: Sendable {
    package let file: ConfigFile
    /// `put route`, `set`, for the log.
    package let operation: String
    /// What was edited, never a value.
    package let key: String
    /// The file after the edit.
    package let revision: Revision
    /// The settings before and after; equal when the edit changes nothing that counts.
    package let before: Settings
    package let after: Settings
    /// False when the file was like that already; then nothing was written.
    package let isChanged: Bool
    /// How the file was written; nil when it was not.
    package let replacement: Replacement?
    /// What looks odd about the new configuration.
    package let warnings: [ConfigError]
}

extension SettingsStore {
    /// Tries before an edit gives way to somebody who writes the file all the time.
    private static let tries = 5

    /// A file as it is on disk now, to be shown or to be edited.
    ///
    /// - Throws: ``EditError/broken(_:)`` when it cannot be read or is not UTF-8.
    package func document(_ file: ConfigFile) throws(EditError) -> (document: INIDocument, revision: Revision) {
        let bytes: [UInt8]
        do throws(ConfigError) {
            bytes = try source.contents(of: file.name, atMost: SettingsReader.largestFile) ?? []
        } catch {
            throw .broken(ConfigErrors([error]))
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw .broken(ConfigErrors([ConfigError(file: file.name, reason: "is not UTF-8")]))
        }
        return (INIDocument(parsing: text), Revision(of: bytes))
    }

    /// Edits a file and puts the result in force.
    ///
    /// Blocks on the disk: not for an event loop. Subscribers have been called when it returns.
    ///
    /// - Parameters:
    ///   - file: which one; it is made when it is missing.
    ///   - expecting: what the caller believes the file to be; nil: whatever it is.
    ///   - operation: for the log, such as `put route`.
    ///   - key: for the log, such as the name of a route; never a value.
    ///   - clock: the time now.
    ///   - change: applied to the document as it is on disk; may be called more than once, and may refuse.
    /// - Throws: ``EditFailure``; then nothing has changed.
    @discardableResult
    package func edit<Refusal>(
        _ file: ConfigFile,
        expecting: Revision? = nil,
        operation: String,
        key: String,
        clock: () -> Timestamp = { .now() },
        _ change: (inout INIDocument) throws(Refusal) -> Void
    ) throws(EditFailure<Refusal>) -> Edit {
        let lock = source.lock()
        defer { withExtendedLifetime(lock) {} }
        let wish = Wish(file, operation, key, expecting)
        let edit = try watch.withLock { watch throws(EditFailure<Refusal>) in
            for _ in 0..<Self.tries {
                waitUntilSettled(file, watch, clock)
                if let edit = try fulfil(wish, &watch, change) { return edit }
            }
            throw .failed(.stale(current: try onDisk(file, for: Refusal.self).revision))
        }
        for listener in watch.withLock({ $0.editListeners }) { listener(edit) }
        return edit
    }

    /// What an edit is asked to do.
    fileprivate struct Wish {
        let file: ConfigFile
        let operation: String
        let key: String
        let expecting: Revision?

        init(_ file: ConfigFile, _ operation: String, _ key: String, _ expecting: Revision?) {
            self.file = file
            self.operation = operation
            self.key = key
            self.expecting = expecting
        }
    }

    /// One try.
    ///
    /// - Returns: nil when somebody wrote the file meanwhile.
    private func fulfil<Refusal>(
        _ wish: Wish,
        _ watch: inout Watch,
        _ change: (inout INIDocument) throws(Refusal) -> Void
    ) throws(EditFailure<Refusal>) -> Edit? {
        let stamps = stamps(watch)
        let (old, revision) = try onDisk(wish.file, for: Refusal.self)
        if let expecting = wish.expecting, expecting != revision { throw .failed(.stale(current: revision)) }
        var new = old
        do throws(Refusal) { try change(&new) } catch { throw .refused(error) }
        do throws(EditError) {
            return try apply(wish, from: old, revision, to: new, &watch, stamps)
        } catch {
            throw .failed(error)
        }
    }

    private func onDisk<Refusal>(
        _ file: ConfigFile,
        for refusal: Refusal.Type
    ) throws(EditFailure<Refusal>) -> (document: INIDocument, revision: Revision) {
        do throws(EditError) { return try document(file) } catch { throw .failed(error) }
    }

    /// Checks, writes and publishes.
    ///
    /// - Parameter stamps: of the files, taken before they were read.
    /// - Returns: nil when somebody wrote the file meanwhile.
    private func apply(
        _ wish: Wish,
        from old: INIDocument,
        _ revision: Revision,
        to new: INIDocument,
        _ watch: inout Watch,
        _ stamps: [String: FileStamp]
    ) throws(EditError) -> Edit? {
        let file = wish.file
        try refusePinned(file, old, new)
        let result = try check(file, new)
        let before = current
        var replacement: Replacement?
        if new == old {
            // Somebody wrote the same by hand, and it is not in force yet.
            guard stamps != watch.stamps else { return Edit(wish, revision, before, before, nil, result.warnings) }
            watch.stamps = stamps
        } else {
            guard source.stamp(of: file.name) == stamps[file.name] else { return nil }
            replacement = try write(file, old, new)
            watch.stamps = stamps
            watch.stamps[file.name] = source.stamp(of: file.name)
            watch.own[file.name] = watch.stamps[file.name]
        }
        watch.gone = []
        watch.reported = nil
        publish(result, &watch)
        return Edit(wish, Revision(of: new.bytes), before, result.settings, replacement, result.warnings)
    }

    /// Reads the whole configuration with the edited file in its place.
    private func check(_ file: ConfigFile, _ new: INIDocument) throws(EditError) -> SettingsReader.Result {
        do throws(ConfigErrors) {
            return try reader.replacing([file.name: new.bytes]).read()
        } catch {
            // Is it the edit that is wrong, or was it wrong before?
            do throws(ConfigErrors) { _ = try reader.read() } catch let old { throw .broken(old) }
            throw .invalid(error)
        }
    }

    private func write(
        _ file: ConfigFile,
        _ old: INIDocument,
        _ new: INIDocument
    ) throws(EditError) -> Replacement {
        do throws(WriteError) {
            return try source.replace(file.name, with: new.bytes)
        } catch {
            switch error {
            case .readOnly(let reason):
                throw .readOnly(reason: reason, diff: LineDiff.of(old.text, new.text, file: file.name))
            case .failed(let reason): throw .notWritten(reason)
            }
        }
    }

    /// A value that stands above the file must not be edited in vain.
    private func refusePinned(_ file: ConfigFile, _ old: INIDocument, _ new: INIDocument) throws(EditError) {
        guard !environment.pins.isEmpty else { return }
        for entry in old.entries + new.entries {
            guard let pin = environment.pin(entry.key, in: entry.section, of: file.name),
                old.values(entry.key, in: entry.section) != new.values(entry.key, in: entry.section)
            else { continue }
            throw .pinned(key: entry.key, variable: pin.variable)
        }
    }

    /// Lets somebody who is writing the file right now finish.
    private func waitUntilSettled(_ file: ConfigFile, _ watch: Watch, _ clock: () -> Timestamp) {
        for _ in 0..<20 {
            guard let stamp = source.stamp(of: file.name), stamp != watch.own[file.name],
                !Self.isSettled(stamp, clock())
            else { return }
            usleep(20_000)
        }
    }
}

extension Edit {
    fileprivate init(
        _ wish: SettingsStore.Wish,
        _ revision: Revision,
        _ before: Settings,
        _ after: Settings,
        _ replacement: Replacement?,
        _ warnings: [ConfigError]
    ) {
        self.init(
            file: wish.file,
            operation: wish.operation,
            key: wish.key,
            revision: revision,
            before: before,
            after: after,
            isChanged: replacement != nil,
            replacement: replacement,
            warnings: warnings
        )
    }
}

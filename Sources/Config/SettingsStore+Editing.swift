// SettingsStore+Editing.swift — an edit from within: read, change, check, write, publish.
//
// Guarantees: what a person wrote into the file is never lost, because every edit begins with the file as it is on disk;
// nothing is written unless the file is valid with it and agrees with the others, and what is broken in another file keeps
// no edit back; when an edit returns, the file is durable and the new settings are in force. Edits are serialised, among
// processes too. The switch of delivery works also where the file cannot be written (see ``DeliverySwitch``).

import Glibc
import Loop
package import Mail
import Synchronization

/// What an edit came to.
package struct Edit: Sendable {
    package let file: ConfigFile
    /// `put route`, `set`, for the log.
    package let operation: String
    /// What was edited, never a value.
    package let key: String
    /// Who, and by which door: `api NAME`, or empty.
    package let actor: String
    /// The lines that changed, without secrets; empty where there are none, or too many to be told.
    package let diff: String
    /// The file after the edit.
    package let revision: Revision
    /// The settings before and after; equal when the edit changes nothing that counts.
    package let before: Settings
    package let after: Settings
    /// False when the file was like that already; then nothing was written.
    package let isChanged: Bool
    /// How the file was written; nil when it was not.
    package let replacement: Replacement?
    /// Why the switch is kept in the data directory instead; nil when it is not.
    package let isKeptBecause: String?
    /// The file was broken, and is in order now.
    package let isMended: Bool
    /// What looks odd about the file.
    package let warnings: [ConfigError]
    /// It was only tried: nothing was written, and nothing is in force.
    package var isRehearsal = false
    /// Of the file after the edit, bytes.
    package var size = 0
}

extension SettingsStore {
    /// Tries before an edit gives way to somebody who writes the file all the time.
    private static let tries = 5
    /// Bytes of a file whose changed lines are told.
    private static let mostTold = 1 << 20

    /// A file as it is on disk now, to be shown or to be edited.
    ///
    /// - Throws: ``EditError/broken(_:)`` when it cannot be read or is not UTF-8.
    package func document(_ file: ConfigFile) throws(EditError) -> (document: INIDocument, revision: Revision) {
        let (now, stamp) = (Timestamp.now(), source.stamp(of: file.name))
        if let known = shelved(file, stamp) {
            if let document = known.document { return (document, known.revision) }
            let document = INIDocument(parsing: String(decoding: known.bytes, as: UTF8.self))
            keep(file, known.bytes, document, known.revision, known.stamp)
            return (document, known.revision)
        }
        do throws(ConfigErrors) {
            let text = try reader.fileText(file.name) ?? ""
            let document = INIDocument(parsing: text)
            let revision = Revision(of: document.bytes + marks(file))
            // One that is being written may have other bytes under the same stamp in a moment, however long reading it took.
            if let stamp, Self.isSettled(stamp, now) { keep(file, document.bytes, document, revision, stamp) }
            return (document, revision)
        } catch {
            throw .broken(error)
        }
    }

    /// The version of a file, also of one that holds no text; that of a file that cannot be read is the one of an empty file.
    package func revision(_ file: ConfigFile) -> Revision {
        let bytes = try? source.contents(of: file.name, atMost: SettingsReader.largest(file.name))
        return Revision(of: (bytes ?? []) + marks(file))
    }

    /// The switch that is kept beside `outbound.ini` belongs to its version.
    private func marks(_ file: ConfigFile) -> [UInt8] {
        guard file == .outbound, let kept = health.current.kept else { return [] }
        return [0] + Array("\(kept.position.isDisabled) \(kept.position.reason)".utf8)
    }

    /// Edits a file and puts the result in force.
    ///
    /// Blocks on the disk: not for an event loop. Subscribers have been called when it returns.
    ///
    /// - Parameters:
    ///   - file: which one; it is made when it is missing.
    ///   - section: the only one that `change` looks at and changes, by its name in normal form; nil: it may be any.
    ///   - expecting: what the caller believes the file to be; nil: whatever it is.
    ///   - operation: for the log, such as `put route`.
    ///   - key: for the log, such as the name of a route; never a value.
    ///   - actor: who, and by which door.
    ///   - position: where the switch of delivery is to stand, for an edit of `outbound.ini` that says nothing else: it is kept
    ///     in the data directory when the file cannot be edited.
    ///   - isRehearsal: everything is checked, and nothing is done.
    ///   - clock: the time now.
    ///   - change: applied to the document as it is on disk; may be called more than once, and may refuse.
    /// - Throws: ``EditFailure``; then nothing has changed.
    @discardableResult
    package func edit<Refusal>(
        _ file: ConfigFile,
        section: String? = nil,
        expecting: Revision? = nil,
        operation: String,
        key: String,
        by actor: String = "",
        switching position: DeliverySwitch? = nil,
        isRehearsal: Bool = false,
        clock: () -> Timestamp = { .now() },
        _ change: (inout INIDocument) throws(Refusal) -> Void
    ) throws(EditFailure<Refusal>) -> Edit {
        let lock = source.lock()
        defer { withExtendedLifetime(lock) {} }
        var wish = Wish(
            file: file,
            operation: operation,
            key: key,
            actor: actor,
            expecting: expecting,
            position: position
        )
        wish.isRehearsal = isRehearsal
        wish.section = section
        let edit = try watch.withLock { watch throws(EditFailure<Refusal>) in
            do throws(EditFailure<Refusal>) {
                for _ in 0..<Self.tries {
                    waitUntilSettled(file, watch, clock)
                    if let edit = try fulfil(wish, &watch, change) { return edit }
                }
                throw .failed(.stale(current: revision(file)))
            } catch {
                guard let position, let edit = try keep(position, wish, &watch, because: error) else { throw error }
                return edit
            }
        }
        if isRehearsal { return edit }
        for listener in watch.withLock({ $0.editListeners }) { listener(edit) }
        return edit
    }

    /// What an edit is asked to do.
    struct Wish {
        let file: ConfigFile
        let operation: String
        let key: String
        let actor: String
        let expecting: Revision?
        let position: DeliverySwitch?
        var isRehearsal = false
        var section: String?
    }

    /// One try.
    ///
    /// - Returns: nil when somebody wrote the file meanwhile.
    private func fulfil<Refusal>(
        _ wish: Wish,
        _ watch: inout Watch,
        _ change: (inout INIDocument) throws(Refusal) -> Void
    ) throws(EditFailure<Refusal>) -> Edit? {
        let stamp = source.stamp(of: wish.file.name)
        if let edit = try fulfilSection(wish, &watch, stamp, change) { return edit }
        let (old, revision): (INIDocument, Revision)
        do throws(EditError) { (old, revision) = try document(wish.file) } catch { throw .failed(error) }
        if let expecting = wish.expecting, expecting != revision { throw .failed(.stale(current: revision)) }
        var new = old
        do throws(Refusal) { try change(&new) } catch { throw .refused(error) }
        do throws(EditError) {
            return try apply(wish, from: old, to: new, &watch, stamp)
        } catch {
            throw .failed(error)
        }
    }

    /// Checks, writes and publishes.
    ///
    /// - Parameter stamp: of the file, taken before it was read.
    /// - Returns: nil when somebody wrote the file meanwhile.
    private func apply(
        _ wish: Wish,
        from old: INIDocument,
        to new: INIDocument,
        _ watch: inout Watch,
        _ stamp: FileStamp?
    ) throws(EditError) -> Edit? {
        try refusePinned(wish.file, old, new)
        let reading = try check(ConfigPart(wish.file), wish.file, new, watch)
        if wish.isRehearsal { return rehearsal(wish, from: old, to: new, reading) }
        return try finish(wish, from: old.bytes, to: new == old ? nil : new.bytes, new, reading, &watch, stamp)
    }

    /// Writes what was checked, and publishes it.
    ///
    /// - Parameters:
    ///   - new: nil when nothing changes.
    ///   - document: of the file as it will be, where somebody has read it.
    ///   - stamp: of the file, taken before it was read.
    /// - Returns: nil when somebody wrote the file meanwhile.
    func finish(
        _ wish: Wish,
        from old: [UInt8],
        to new: [UInt8]?,
        _ document: INIDocument?,
        _ reading: ConfigReading,
        _ watch: inout Watch,
        _ stamp: FileStamp?
    ) throws(EditError) -> Edit? {
        let file = wish.file
        let (before, wasBroken) = (current, watch.isBroken(ConfigPart(file)))
        var replacement: Replacement?
        if let new {
            guard source.stamp(of: file.name) == stamp else { return nil }
            replacement = try write(file, old, new)
            watch.stamps[file.name] = source.stamp(of: file.name)
            watch.own[file.name] = watch.stamps[file.name]
        } else {
            // Perhaps somebody wrote the same by hand, and it is not in force yet.
            watch.stamps[file.name] = stamp
        }
        var isReleased = false
        if wish.position != nil, watch.kept != nil {
            // The file has the word again, also where it need not be written for it.
            do throws(ConfigError) { try switchFile?.remove() } catch { throw .notWritten("\(error)") }
            watch.kept = nil
            isReleased = true
        }
        watch.gone.remove(file.name)
        _ = take(reading, &watch)
        publish(&watch)
        let now = new ?? old
        let revision = Revision(of: now + marks(file))
        if let stamp = watch.stamps[file.name] { keep(file, now, document, revision, stamp) }
        var edit = Edit(
            file: file,
            operation: wish.operation,
            key: wish.key,
            actor: wish.actor,
            diff: max(old.count, now.count) <= Self.mostTold ? diff(file, old, now) : "",
            revision: revision,
            before: before,
            after: current,
            isChanged: replacement != nil || isReleased,
            replacement: replacement,
            isKeptBecause: nil,
            isMended: wasBroken,
            warnings: reading.warnings
        )
        edit.size = now.count
        return edit
    }

    private func diff(_ file: ConfigFile, _ old: [UInt8], _ new: [UInt8]) -> String {
        LineDiff.of(String(decoding: old, as: UTF8.self), String(decoding: new, as: UTF8.self), file: file.name)
    }

    /// What an edit would come to.
    private func rehearsal(_ wish: Wish, from old: INIDocument, to new: INIDocument, _ reading: ConfigReading) -> Edit {
        Edit(
            file: wish.file,
            operation: wish.operation,
            key: wish.key,
            actor: wish.actor,
            diff: LineDiff.of(old.text, new.text, file: wish.file.name),
            revision: Revision(of: old.bytes + marks(wish.file)),
            before: current,
            after: reading.settings,
            isChanged: new != old,
            replacement: nil,
            isKeptBecause: nil,
            isMended: false,
            warnings: reading.warnings,
            isRehearsal: true
        )
    }

    /// Whether there is such a file.
    package func exists(_ file: ConfigFile) -> Bool { source.stamp(of: file.name) != nil }

    /// Whether a file has a line for a key that stands before any section.
    package func says(_ key: String, _ file: ConfigFile) -> Bool {
        guard let (document, _) = try? document(file) else { return false }
        return document.value(key, in: nil) != nil
    }

    /// The configuration directory, as other libraries open files in it.
    package var directory: String { source.path(of: ".") }

    /// Reads the part with the edited file in its place.
    private func check(
        _ part: ConfigPart,
        _ file: ConfigFile,
        _ new: INIDocument,
        _ watch: Watch
    ) throws(EditError) -> ConfigReading {
        let reading = reader.replacing([file.name: new.bytes]).read([part], over: watch.settings)
        let errors = reading.errors
        guard !errors.isEmpty else { return reading }
        // Is it the edit that is wrong, or was it wrong before?
        let known = Set(reader.read([part], over: watch.settings).errors.map { [$0.file, $0.reason] })
        guard errors.allSatisfy({ known.contains([$0.file, $0.reason]) }) else { throw .invalid(ConfigErrors(errors)) }
        throw .broken(ConfigErrors(errors))
    }

    private func write(
        _ file: ConfigFile,
        _ old: [UInt8],
        _ new: [UInt8]
    ) throws(EditError) -> Replacement {
        do throws(WriteError) {
            return try source.replace(file.name, with: new)
        } catch {
            switch error {
            case .readOnly(let reason):
                throw .readOnly(reason: reason, diff: diff(file, old, new))
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

// SettingsStore+Sections.swift — an edit of one section of a table with a hundred thousand: what changes is read, checked and put
// in its place; the rest is in force as it stands and is not looked at.
//
// Guarantees: the same bytes and the same settings as an edit of the whole file (`SectionEditTests` compares them). Whatever is
// out of the ordinary is left to that: a file that is not in force as it is, a section that is written otherwise than in normal
// form, a value that variables pin, anything that is wrong with the section.

import Loop
import Mail
import Synchronization

extension SettingsStore {
    /// A large file as it was read, or written, last.
    struct Shelved: Sendable {
        let stamp: FileStamp
        let bytes: [UInt8]
        let revision: Revision
        /// nil until somebody asks for the whole.
        var document: INIDocument?
    }

    /// Bytes of a file that is worth keeping; smaller ones are read as fast.
    static let leastShelved = 64 << 10

    /// The version of a file that can be read.
    ///
    /// - Throws: ``EditError/broken(_:)`` when it cannot be read or is not UTF-8.
    package func version(of file: ConfigFile) throws(EditError) -> Revision {
        if let known = shelved(file, source.stamp(of: file.name)) { return known.revision }
        return try document(file).revision
    }

    /// A large file by what it looks like; nil for a small one, or one that was not read yet.
    func shelved(_ file: ConfigFile, _ stamp: FileStamp?) -> Shelved? {
        shelf.withLock { $0[file] }.flatMap { $0.stamp == stamp ? $0 : nil }
    }

    /// Keeps a large file as it was read, so that who asks for a line of it again does not wait for all of it.
    func keep(_ file: ConfigFile, _ bytes: [UInt8], _ document: INIDocument?, _ revision: Revision, _ stamp: FileStamp)
    {
        // The switch that is kept beside this one belongs to its version.
        guard file != .outbound, bytes.count >= Self.leastShelved, source.stamp(of: file.name) == stamp else { return }
        shelf.withLock { $0[file] = Shelved(stamp: stamp, bytes: bytes, revision: revision, document: document) }
    }

    /// Reads a large file that is in force as it is, without a look at what it says.
    private func fetch(_ file: ConfigFile, _ stamp: FileStamp) -> Shelved? {
        if let known = shelved(file, stamp) { return known }
        guard Self.isSettled(stamp, .now()),
            let bytes = try? source.contents(of: file.name, atMost: SettingsReader.largest(file.name)),
            source.stamp(of: file.name) == stamp
        else { return nil }
        keep(file, bytes, nil, Revision(of: bytes), stamp)
        return shelved(file, stamp)
    }

    /// One try to edit the section that an edit is about.
    ///
    /// - Returns: nil when the whole file has to be edited.
    func fulfilSection<Refusal>(
        _ wish: Wish,
        _ watch: inout Watch,
        _ stamp: FileStamp?,
        _ change: (inout INIDocument) throws(Refusal) -> Void
    ) throws(EditFailure<Refusal>) -> Edit? {
        let file = wish.file
        guard let name = wish.section, file == .routes, !wish.isRehearsal, let stamp,
            // What is in force is what stands there.
            watch.stamps[file.name] == stamp, !watch.isBroken(.routes),
            !environment.pins.contains(where: { $0.file == file.name }), let shelved = fetch(file, stamp)
        else { return nil }
        if let expecting = wish.expecting, expecting != shelved.revision {
            throw .failed(.stale(current: shelved.revision))
        }
        let isKnown = watch.settings.routes.route(named: name) != nil
        guard let window = isKnown ? SectionWindow(name, in: shelved.bytes) : SectionWindow(lastIn: shelved.bytes)
        else { return nil }
        let (old, tail) = (shelved.bytes[window.section], shelved.bytes[window.next])
        var piece = INIDocument(parsing: String(decoding: old + tail, as: UTF8.self))
        do throws(Refusal) { try change(&piece) } catch { throw .refused(error) }
        guard piece.bytes.count >= tail.count, piece.bytes.suffix(tail.count).elementsEqual(tail) else { return nil }
        let new = piece.bytes.dropLast(tail.count)
        guard let reading = reading(new, of: name, watch) else { return nil }
        do throws(EditError) {
            let bytes = new.elementsEqual(old) ? nil : shelved.bytes.replacing(window.section, with: new)
            return try finish(wish, from: shelved.bytes, to: bytes, nil, reading, &watch, stamp)
        } catch {
            throw .failed(error)
        }
    }

    /// What is in force with a section as it would be.
    ///
    /// - Returns: nil when something is wrong with it.
    private func reading(_ section: ArraySlice<UInt8>, of name: String, _ watch: Watch) -> ConfigReading? {
        var surroundings = Surroundings(source, environment: environment, isLocal: reader.isLocal)
        let document = INIDocument(parsing: String(decoding: section, as: UTF8.self))
        guard let table = try? Routes.read(document, in: &surroundings) else { return nil }
        if surroundings.hasSecrets, source.exposure(of: ConfigFile.routes.name) != nil { return nil }
        var reading = ConfigReading(settings: watch.settings)
        if table.route(named: name) == nil { reading.settings.routes.remove(named: name) }
        for (match, route) in table.all {
            // Beside it there may be the one that a new one is put behind.
            guard match == name || watch.settings.routes.route(named: match) == route else { return nil }
            if match == name { reading.settings.routes.add(route) }
        }
        var finding = watch.findings[.routes] ?? ConfigFinding()
        finding.referenced.formUnion(surroundings.files)
        reading.findings[.routes] = finding
        return reading
    }
}

extension [UInt8] {
    fileprivate func replacing(_ range: Range<Int>, with new: ArraySlice<UInt8>) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count - range.count + new.count)
        bytes += self[..<range.lowerBound]
        bytes += new
        bytes += self[range.upperBound...]
        return bytes
    }
}

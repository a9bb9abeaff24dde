// MemoryConfig.swift — a configuration directory in memory.

import Synchronization

@testable import Config

/// Files by name; each write gives a new stamp at the time of the test's clock.
final class MemoryConfig: ConfigSource {
    private struct File {
        var bytes: [UInt8]
        var stamp: FileStamp
        var isReadable = true
    }

    /// Something that happens once, just before a file is replaced.
    struct Interruption: Sendable {
        let body: @Sendable () -> Void
    }

    private let files: Mutex<[String: File]>
    /// Every write fails with this.
    let refusal = Mutex<WriteError?>(nil)
    let beforeReplacing = Mutex<Interruption?>(nil)
    /// Milliseconds.
    let clock = Mutex<Int64>(0)

    init(_ texts: [String: String] = [:]) {
        files = Mutex(texts.mapValues { File(bytes: Array($0.utf8), stamp: FileStamp(inode: 1, size: 0, modified: 0)) })
    }

    /// - Parameter now: milliseconds.
    func write(_ file: String, _ text: String, now: Int64) { write(file, Array(text.utf8), now: now) }

    func write(_ file: String, _ bytes: [UInt8], now: Int64) {
        files.withLock {
            $0[file] = File(bytes: bytes, stamp: FileStamp(inode: 1, size: bytes.count, modified: now * 1_000_000))
        }
    }

    func remove(_ file: String) { files.withLock { $0[file] = nil } }

    func forbid(_ file: String) { files.withLock { $0[file]?.isReadable = false } }

    func allow(_ file: String) { files.withLock { $0[file]?.isReadable = true } }

    func contents(of file: String, atMost limit: Int) throws(ConfigError) -> [UInt8]? {
        guard let found = files.withLock({ $0[file] }) else { return nil }
        guard found.isReadable else { throw ConfigError(file: file, reason: "cannot be read: Permission denied") }
        return found.bytes
    }

    func stamp(of file: String) -> FileStamp? { files.withLock { $0[file]?.stamp } }

    func replace(_ file: String, with bytes: [UInt8]) throws(WriteError) -> Replacement {
        if let refusal = refusal.withLock({ $0 }) { throw refusal }
        beforeReplacing.withLock { $0.take() }?.body()
        write(file, bytes, now: clock.withLock { $0 })
        return .atomic
    }

    func lock() -> (any AnyObject & Sendable)? { nil }

    func path(of file: String) -> String { file.hasPrefix("/") ? file : "/memory/\(file)" }
}

/// The settings of some files, or all that is wrong with them as text.
func read(_ files: [String: String], hostName: String = "relay.example.org") throws -> SettingsReader.Result {
    try SettingsReader(MemoryConfig(files), hostName: hostName).read()
}

/// What is wrong with some files; empty when nothing is.
func errors(_ files: [String: String]) -> [String] {
    do {
        _ = try read(files)
        return []
    } catch let errors as ConfigErrors {
        return errors.errors.map(\.description)
    } catch {
        return ["\(error)"]
    }
}

/// An edit that refuses nothing by itself: what is left is why the file could not be edited.
func editing<Value>(_ body: () throws(EditFailure<ConfigError>) -> Value) throws(EditError) -> Value {
    do throws(EditFailure<ConfigError>) {
        return try body()
    } catch {
        switch error {
        case .failed(let error): throw error
        case .refused(let error): throw .invalid(ConfigErrors([error]))
        }
    }
}

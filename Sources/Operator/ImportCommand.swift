// ImportCommand.swift — `martlet import haraka|postfix|env`: another program's configuration, written as ours.
//
// Guarantees: nothing that is there is written over unless that was asked for, and nothing is written at all when one file
// would be; secrets are in files of mode 0600 and on no screen.

package import ArgumentParser
import Config
import Files
import Glibc
import Mail

/// Translates another program's configuration.
package struct ImportCommand: ParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Translate the configuration of Haraka, Postfix or a container into one of ours.",
        subcommands: [ImportHaraka.self, ImportPostfix.self, ImportEnvironment.self]
    )

    package init() {}
}

/// Where the result goes.
package struct ImportTarget: ParsableArguments {
    @Option(help: "The configuration directory to write; it is made when it is missing.")
    var to: String?
    @Flag(help: "Write over files that are there.")
    var force = false
    @Flag(help: "Print the files, without secrets, and write nothing.")
    var dryRun = false

    package init() {}

    /// Says what became of each line, checks the whole, and writes it.
    ///
    /// - Throws: `ExitCode` 1 when nothing was written, or a relay would not start with the result.
    func deliver(_ draft: ImportDraft) throws {
        for remark in draft.remarks { print(remark.text) }
        let counts = [ImportDraft.Fate.translated, .guessed, .leftOut, .lost].map { fate in
            "\(draft.remarks.count { $0.fate == fate }) \(fate.rawValue)"
        }
        print("\n\(counts.joined(separator: ", "))")
        let isGood = check(draft)
        guard !dryRun, let to else {
            for file in draft.files { show(file) }
            if !dryRun { print("\nNothing is written: --to DIRECTORY says where.") }
            if !isGood { throw ExitCode(1) }
            return
        }
        try write(draft, to)
        print("\nWritten to \(to); martlet check --config \(to) says the same again.")
        if !isGood { throw ExitCode(1) }
    }

    /// What `martlet check` would say of the files.
    private func check(_ draft: ImportDraft) -> Bool {
        do throws(ConfigErrors) {
            let result = try SettingsReader(ImportedFiles(draft.files), hostName: HostName.ofMachine()).read()
            for warning in result.warnings { print("warning: \(warning)") }
            for sentence in result.settings.sentences { print(sentence) }
            return true
        } catch {
            for error in error.errors { print("error: \(error)") }
            return false
        }
    }

    private func show(_ file: ImportDraft.File) {
        guard !file.isSecret else { return print("\n==> \(file.name) (mode 600, not shown)") }
        guard !file.name.isSame(octets: ImportDraft.listName) else { return }
        print("\n==> \(file.name)")
        for line in String(decoding: file.bytes, as: UTF8.self).filledLines {
            print(ImportDraft.harmless(line, limit: 1000))
        }
    }

    private func write(_ draft: ImportDraft, _ directory: String) throws {
        let disk = LinuxDisk()
        do throws(DiskError) {
            try disk.makeDirectories(directory, permissions: 0o750)
            if !force {
                var there: [String] = []
                for file in draft.files where try disk.status("\(directory)/\(file.name)", following: false) != nil {
                    there.append(file.name)
                }
                guard there.isEmpty else {
                    Output.complain(
                        "nothing is written: \(there.joined(separator: ", ")) would be written over; --force does it, or give "
                            + "an empty directory with --to"
                    )
                    throw DiskError("create", directory, EEXIST)
                }
            }
            for file in draft.files {
                let parts = file.name.split(octet: "/").dropLast()
                for count in parts.indices {
                    try disk.makeDirectory("\(directory)/\(parts[...count].joined(separator: "/"))", permissions: 0o750)
                }
                try disk.replace(
                    "\(directory)/\(file.name)",
                    with: file.bytes,
                    permissions: file.isSecret ? 0o600 : 0o640,
                    isSecret: file.isSecret
                )
            }
        } catch {
            if error.code != EEXIST { Output.complain("\(error)") }
            throw ExitCode(1)
        }
    }
}

/// The files of an import as a configuration directory.
struct ImportedFiles: ConfigSource {
    private let files: [String: [UInt8]]

    init(_ files: [ImportDraft.File]) {
        self.files = Dictionary(files.map { ($0.name, $0.bytes) }) { $1 }
    }

    func contents(of file: String, atMost limit: Int) throws(ConfigError) -> [UInt8]? { files[file] }
    func stamp(of file: String) -> FileStamp? {
        files[file].map { FileStamp(inode: 1, size: $0.count, modified: 0) }
    }
    func replace(_ file: String, with bytes: [UInt8]) throws(WriteError) -> Replacement {
        throw .readOnly("an import is not edited")
    }
    func lock() -> (any AnyObject & Sendable)? { nil }
    func path(of file: String) -> String { file }
}

/// A directory of Haraka.
struct ImportHaraka: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "haraka",
        abstract: "Translate a Haraka configuration directory."
    )

    @Argument(help: "Haraka's config directory.")
    var directory: String
    @OptionGroup var target: ImportTarget

    func run() throws {
        let source = try ImportSource.directory(directory)
        try target.deliver(HarakaImport.draft(source))
    }
}

/// A directory of Postfix.
struct ImportPostfix: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "postfix",
        abstract: "Translate main.cf and the tables it names, or what postconf -n printed."
    )

    @Argument(help: "Postfix's configuration directory, or a file with what `postconf -n` printed.")
    var path: String
    @OptionGroup var target: ImportTarget

    func run() throws {
        let disk = LinuxDisk()
        let isDirectory = (try? disk.status(path, following: true))??.kind == .directory
        let name = isDirectory ? "main.cf" : String(path.split(octet: "/").last ?? "main.cf")
        let home = isDirectory ? path : path.lastIndex(ofOctet: "/").map { String(path[...$0]) } ?? "."
        guard let bytes = try? disk.contents(of: isDirectory ? "\(path)/main.cf" : path, limit: 4 << 20) else {
            Output.complain("\(path) holds no main.cf that can be read")
            throw ExitCode(1)
        }
        let source = ImportSource { file in
            let whole = file.starts(withOctets: "/") ? file : "\(home)/\(file)"
            return try? disk.contents(of: whole, limit: 16 << 20)
        }
        try target.deliver(
            PostfixImport.draft(
                String(decoding: bytes, as: UTF8.self),
                named: name,
                beside: source,
                isLocal: LocalAddress.canSendFrom
            )
        )
    }
}

/// The variables of a container.
struct ImportEnvironment: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "env",
        abstract: "Translate the variables of this process: ours, and those of other images."
    )

    @OptionGroup var target: ImportTarget

    func run() throws {
        let (environment, problems) = Environment.ofThisProcess()
        if let problems {
            for problem in problems.errors { Output.complain(problem.description) }
            throw ExitCode(1)
        }
        try target.deliver(EnvironmentImport.draft(environment) { try? environment.secret($0) ?? nil })
    }
}

extension ImportSource {
    /// The files of a directory, and whatever else they name.
    ///
    /// - Throws: `ExitCode` 1 when there is no such directory.
    fileprivate static func directory(_ path: String) throws -> ImportSource {
        let disk = LinuxDisk()
        guard (try? disk.status(path, following: true))??.kind == .directory else {
            Output.complain("\(path) is no directory")
            throw ExitCode(1)
        }
        return ImportSource { file in
            let whole = file.starts(withOctets: "/") ? file : "\(path)/\(file)"
            return try? disk.contents(of: whole, limit: 16 << 20)
        }
    }
}

// Environment+Process.swift — the environment of this process: the one place that asks for it.

import Files
import Glibc
import Mail
import Process

extension Environment {
    /// What the environment says; when it says something wrong, what is meant for the program alone, and what is wrong.
    package static func ofThisProcess() -> (environment: Environment, problems: ConfigErrors?) {
        let (variables, directory) = (ProcessEnvironment.all(), workingDirectory())
        do throws(ConfigErrors) {
            return (try Environment(variables, directory: directory, file: contents), nil)
        } catch {
            let program = try? Environment.program(variables, directory: directory, file: contents)
            let rest = Environment(
                variables: variables,
                directory: directory,
                pins: [],
                program: program ?? [:],
                token: nil,
                files: [],
                notes: []
            )
            return (rest, error)
        }
    }

    /// What is meant for the tools, whatever else is wrong.
    ///
    /// - Throws: when a file that one of these variables names cannot be read.
    package static func programOfThisProcess() throws(ConfigErrors) -> [String: String] {
        try program(ProcessEnvironment.all(), directory: workingDirectory(), file: contents)
    }

    /// The one word that a file holds, such as a token; nil when it holds none, or more.
    package static func oneWord(_ bytes: [UInt8]) -> String? {
        guard let text = (try? GivenText.value(bytes))?.trimmed, !text.isEmpty,
            text.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { return nil }
        return String(text)
    }

    private static func contents(_ path: String) throws(ConfigError) -> [UInt8]? {
        do throws(DiskError) {
            return try LinuxDisk().contents(of: path, limit: SettingsReader.largestValue)
        } catch {
            if error.isMissing { return nil }
            throw ConfigError(file: path, reason: "cannot be read: \(error)")
        }
    }

    private static func workingDirectory() -> String {
        guard let path = getcwd(nil, 0) else { return "" }
        defer { free(path) }
        return String(cString: path)
    }
}

// ImportSetupsTests.swift — thirty whole setups of Postfix, Haraka and containers, in the shapes that public ones have, each with
// what it must come to: Tests/Setups.
//
// A setup is `# what it is`, then `[[file]]` blocks, and at the end `[[expected]]`: a line for each way of a mail, what is lost, and
// the three sentences of `check`.

import Config
import Glibc
import Mail
import Testing

@testable import Operator

@Suite struct ImportSetupsTests {
    private static let place =
        #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(2)
        .joined(separator: "/") + "/Setups"
    private static let mark = "[[expected]]\n"

    private static func names(_ kind: String) -> [String] {
        var names: [String] = []
        guard let open = opendir("\(place)/\(kind)") else { return [] }
        defer { closedir(open) }
        while let entry = readdir(open) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasSuffix(".setup") { names.append(name) }
        }
        return names.sorted()
    }

    private static func contents(_ path: String) -> String {
        guard let file = fopen(path, "r") else { return "" }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }

    /// The files of a setup, and the lines that are expected.
    private static func read(_ text: String) -> (files: [String: String], expected: [String]) {
        var files: [String: String] = [:]
        var name: String?
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("[["), line.hasSuffix("]]") {
                name = String(line.dropFirst(2).dropLast(2))
                files[name ?? ""] = ""
            } else if let name {
                files[name, default: ""] += "\(line)\n"
            }
        }
        let expected = files.removeValue(forKey: "expected") ?? ""
        return (files, expected.split(separator: "\n").map(String.init))
    }

    private static func draft(_ kind: String, _ files: [String: String]) throws -> ImportDraft {
        let source = ImportSource { files[$0].map { Array($0.utf8) } }
        switch kind {
        case "postfix": return PostfixImport.draft(files["main.cf"] ?? "", beside: source, isLocal: { $0.isLoopback })
        case "haraka": return HarakaImport.draft(source)
        default:
            let pairs = (files["env"] ?? "").split(separator: "\n").map { line in
                let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                return (String(parts[0]), String(parts[1]))
            }
            let variables = Dictionary(pairs) { $1 }
            let environment = try Environment(variables.mapValues { Array($0.utf8) }) { _ throws(ConfigError) in nil }
            return EnvironmentImport.draft(environment) { variables[$0] }
        }
    }

    private static func way(_ route: Routes.Entry?) -> String {
        switch route?.way {
        case nil: "by MX"
        case .direct: "by MX, as [\(route?.match ?? "")] says"
        case .reject(let reply): "rejected: \(reply)"
        case .discard(let words): "discarded: \(words)"
        case .hosts(let hosts):
            hosts.map { mx in
                "\(mx)" + (mx.tls.map { " tls=\($0)" } ?? "") + (mx.implicitTLS ? " implicit_tls" : "")
                    + (mx.auth.map { " user=\($0.user)" } ?? "")
            }.joined(separator: ", ")
        }
    }

    /// What a setup comes to, in lines.
    private static func outcome(_ kind: String, _ files: [String: String], _ asked: [String]) throws -> [String] {
        let draft = try draft(kind, files)
        let settings = try SettingsReader(ImportedFiles(draft.files), hostName: "host.example").read().settings
        let ways = try asked.map { line in
            let parts = line.split(separator: " ")
            let sender = try #require(EmailAddress(String(parts[0])))
            let recipient = try #require(EmailAddress(String(parts[2])))
            return "\(parts[0]) > \(parts[2]): \(way(settings.routes.route(for: recipient, from: .address(sender))))"
        }
        let lost = draft.remarks.filter { $0.fate == .lost }.map { "lost: \($0.place) \($0.what)" }
        return ways + lost + ["me: \(settings.me)", "stopped: \(settings.outbound.isDisabled)"] + settings.sentences
    }

    @Test(arguments: ["postfix", "haraka", "env"])
    func eachComesToWhatItMeans(_ kind: String) throws {
        let names = Self.names(kind)
        #expect(names.count >= 10)
        for name in names {
            let text = Self.contents("\(Self.place)/\(kind)/\(name)")
            let (files, expected) = Self.read(text)
            let asked = expected.compactMap { line in
                line.contains(" > ") ? String(line.prefix { $0 != ":" }) : nil
            }
            let outcome = try Self.outcome(kind, files, asked)
            #expect(outcome == expected, "\(kind)/\(name):\n\(outcome.joined(separator: "\n"))")
            // No secret leaves its file.
            for word in ["geheim", "hidden", "-pw", "SG.", "isp-word", "p#ss"] where text.contains(word) {
                let draft = try Self.draft(kind, files)
                for file in draft.files where !file.isSecret {
                    #expect(!String(decoding: file.bytes, as: UTF8.self).contains(word), "\(name): \(file.name)")
                }
                #expect(!draft.remarks.contains { $0.text.contains(word) }, "\(name)")
            }
        }
    }
}

// Dialogue.swift — SMTP conversations as text files, so that a bug report becomes a test by being saved.
//
//     # comment
//     ! errors 3                    a directive; what it means is the driver's business
//     C: EHLO client.example        the client says this line, CRLF added
//     C~ MAIL FROM:<a\x00           the client says these bytes, nothing added
//     S: 250-relay.example *        the server says this line; `*` stands for any run of characters
//     > commit                      an action that the machine under test is expected to take
//
// `\r \n \t \0 \\ \xHH` are escapes, `\(a*5000)` is a repetition. Consecutive client lines go out in one write.

import Glibc
package import NIOCore

/// One conversation.
package struct Dialogue: Sendable, CustomTestStringConvertibleName {
    /// One line of the file.
    package enum Step: Hashable, Sendable {
        /// Bytes of the client, line end included where one was meant.
        case client(ByteBuffer)
        /// A line of the server without its CRLF, with `*` as a wildcard.
        case server(String)
        /// `! name argument`.
        case directive(String, String)
        /// `> text`.
        case action(String)
    }

    /// A step and where it stands.
    package struct Line: Hashable, Sendable {
        package let number: Int
        package let step: Step
    }

    /// The file name without its extension.
    package let name: String
    package let lines: [Line]

    package init(name: String, text: String) throws {
        self.name = name
        var lines: [Line] = []
        for (index, raw) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            guard let step = try Self.step(raw, at: "\(name):\(index + 1)") else { continue }
            lines.append(Line(number: index + 1, step: step))
        }
        self.lines = lines
    }

    /// Every `.dialogue` file of `Tests/Dialogues/FOLDER`, by name.
    package static func load(folder: String) throws -> [Dialogue] {
        let directory = TestFiles.root + "/Dialogues/" + folder
        let names = TestFiles.names(in: directory).filter { $0.hasSuffix(".dialogue") }.sorted()
        return try names.map { name in
            try Dialogue(name: String(name.dropLast(".dialogue".count)), text: TestFiles.text("\(directory)/\(name)"))
        }
    }

    /// Whether a line is what a pattern with `*` asks for.
    package static func matches(_ pattern: String, _ line: String) -> Bool {
        let parts = pattern.split(separator: "*", omittingEmptySubsequences: false)
        guard parts.count > 1, let first = parts.first, let last = parts.last else { return pattern == line }
        guard line.hasPrefix(first) else { return false }
        var rest = line.dropFirst(first.count)
        for part in parts.dropFirst().dropLast() where !part.isEmpty {
            guard let found = rest.firstRange(of: part) else { return false }
            rest = rest[found.upperBound...]
        }
        return rest.hasSuffix(last)
    }

    private static func step(_ raw: Substring, at place: String) throws -> Step? {
        if raw.isEmpty || raw.hasPrefix("#") { return nil }
        let text = raw.dropFirst(raw.count > 2 ? 3 : 2)
        switch raw.prefix(2) {
        case "C:": return .client(try unescape(text, at: place, ending: "\r\n"))
        case "C~": return .client(try unescape(text, at: place, ending: ""))
        case "S:": return .server(String(text))
        case "! ", "> ":
            let rest = raw.dropFirst(2)
            if raw.hasPrefix(">") { return .action(String(rest)) }
            let words = rest.split(separator: " ", maxSplits: 1)
            return .directive(words.first.map(String.init) ?? "", words.count > 1 ? String(words[1]) : "")
        default: throw TestFileError(place, "expected C:, C~, S:, !, > or #")
        }
    }

    private static func unescape(_ text: Substring, at place: String, ending: String) throws -> ByteBuffer {
        var out = ByteBuffer()
        var bytes = text.utf8[...]
        while let byte = bytes.popFirst() {
            guard byte == UInt8(ascii: "\\") else {
                out.writeInteger(byte)
                continue
            }
            switch bytes.popFirst() {
            case UInt8(ascii: "r"): out.writeInteger(UInt8(13))
            case UInt8(ascii: "n"): out.writeInteger(UInt8(10))
            case UInt8(ascii: "t"): out.writeInteger(UInt8(9))
            case UInt8(ascii: "0"): out.writeInteger(UInt8(0))
            case UInt8(ascii: "\\"): out.writeInteger(UInt8(ascii: "\\"))
            case UInt8(ascii: "x"):
                guard let value = UInt8(String(Substring(bytes.prefix(2))), radix: 16) else {
                    throw TestFileError(place, "\\x needs two hexadecimal digits")
                }
                bytes = bytes.dropFirst(2)
                out.writeInteger(value)
            case UInt8(ascii: "("):
                guard let close = bytes.firstIndex(of: UInt8(ascii: ")")),
                    let star = bytes[..<close].lastIndex(of: UInt8(ascii: "*")),
                    let count = Int(String(Substring(bytes[bytes.index(after: star)..<close])))
                else { throw TestFileError(place, "expected \\(text*count)") }
                let unit = String(Substring(bytes[..<star]))
                for _ in 0..<count { out.writeString(unit) }
                bytes = bytes[bytes.index(after: close)...]
            default: throw TestFileError(place, "unknown escape")
            }
        }
        out.writeString(ending)
        return out
    }
}

/// Gives parameterised tests a readable name.
package protocol CustomTestStringConvertibleName: CustomStringConvertible {
    var name: String { get }
}

extension CustomTestStringConvertibleName {
    package var description: String { name }
}

/// A test file that does not say what it should.
package struct TestFileError: Error, CustomStringConvertible {
    package let description: String

    init(_ place: String, _ reason: String) { description = "\(place): \(reason)" }
}

/// The text files beside the test sources.
package enum TestFiles {
    /// The folder `Tests`.
    package static var root: String {
        let parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        return parts.dropLast(2).joined(separator: "/")
    }

    /// The whole text of a file.
    package static func text(_ path: String) throws -> String {
        guard let file = fopen(path, "r") else { throw TestFileError(path, "cannot be opened") }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = fread(&block, 1, block.count, file)
            if count == 0 { break }
            bytes += block[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The names in a folder, in no order; empty when there is none.
    package static func names(in directory: String) -> [String] {
        guard let handle = opendir(directory) else { return [] }
        defer { closedir(handle) }
        var names: [String] = []
        while let entry = readdir(handle) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }
}

// PageFiles.swift — the files of the page in a browser, as they lie in the executable: their bytes, their names, compressed.
//
// Guarantees: all files but the first stand below a name that is a hash of all of them, so a browser may keep them for ever
// and never mixes two versions; whatever one module imports, it imports of its own version, by relative names and without a
// step that rewrites them.

import CPage
import Compression
import OpenSSL

/// One file of the page.
package struct PageFile: Sendable {
    /// Media type, with the charset of text.
    package let type: String
    package let bytes: [UInt8]
    /// The same by gzip; nil where that is no smaller.
    package let compressed: [UInt8]?

    init(_ name: String, _ bytes: [UInt8]) {
        type = Self.type(of: name)
        self.bytes = bytes
        compressed = Gzip.compressed(bytes).flatMap { $0.count < bytes.count ? $0 : nil }
    }

    private static func type(of name: String) -> String {
        switch name.utf8.split(separator: UInt8(ascii: ".")).last.map({ String(decoding: $0, as: UTF8.self) }) {
        case "js": "text/javascript; charset=utf-8"
        case "css": "text/css; charset=utf-8"
        case "svg": "image/svg+xml"
        default: "text/html; charset=utf-8"
        }
    }
}

/// All of them.
package struct PageFiles: Sendable {
    /// As it is in this executable; compressed when somebody first asks.
    package static let embedded = PageFiles(Self.read())

    /// What stands in the first file where the others' place belongs.
    private static let mark = Array("{{place}}".utf8)
    private static let firstName = "index.html"

    /// A hash of all files, in hexadecimal digits: a part of their address.
    package let version: String
    /// The document that names all others.
    package let index: PageFile
    private let files: [String: PageFile]

    /// - Parameter all: names and bytes; `index.html` has a mark where the place of the others belongs.
    init(_ all: [(name: String, bytes: [UInt8])]) {
        let digest = Digest.sha256(all.flatMap { Array($0.name.utf8) + [0] + $0.bytes })
        version = digest.prefix(8).map { byte in
            let text = String(byte, radix: 16)
            return text.utf8.count == 1 ? "0\(text)" : text
        }
        .joined()
        var files: [String: PageFile] = [:]
        var first: [UInt8] = []
        for file in all where file.name != Self.firstName { files[file.name] = PageFile(file.name, file.bytes) }
        for file in all where file.name == Self.firstName { first = file.bytes }
        self.files = files
        index = PageFile(Self.firstName, Self.replaced(first, by: Array("page/\(version)".utf8)))
    }

    /// Names of the files beside the first.
    package var names: [String] { files.keys.sorted() }

    package subscript(name: String) -> PageFile? { files[name] }

    private static func replaced(_ bytes: [UInt8], by place: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var rest = bytes[...]
        while let first = rest.first {
            if rest.starts(with: mark) {
                result += place
                rest = rest.dropFirst(mark.count)
            } else {
                result.append(first)
                rest = rest.dropFirst()
            }
        }
        return result
    }

    private static func read() -> [(name: String, bytes: [UInt8])] {
        var found: [(name: String, bytes: [UInt8])] = []
        for number in 0..<martlet_page_count() {
            let file = martlet_page_file(number)
            guard let name = file.name, let bytes = file.bytes else { continue }
            found.append((String(cString: name), Array(UnsafeBufferPointer(start: bytes, count: file.count))))
        }
        return found
    }
}

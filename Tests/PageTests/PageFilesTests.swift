// PageFilesTests.swift — the files of the page: one version of all, none that is not embedded, and small enough.

import TestSupport
import Testing

@testable import Page

@Suite struct PageFilesTests {
    private static let place = "\(TestFiles.root)/../Sources/CPage/page"

    @Test func everyFileIsEmbeddedAsItStands() throws {
        let files = PageFiles.embedded
        for name in files.names {
            let text = try TestFiles.text("\(Self.place)/\(name)")
            let isThis = files[name]?.bytes.elementsEqual(text.utf8) ?? false
            #expect(isThis, "\(name) was built with another: touch CPage/shim.h and Page/PageFiles.swift")
        }
        #expect(files.names.count > 20)
    }

    @Test func theVersionChangesWithEveryFile() {
        let a = PageFiles([("index.html", Array("{{place}}/a.js".utf8)), ("a.js", [1])])
        let b = PageFiles([("index.html", Array("{{place}}/a.js".utf8)), ("a.js", [2])])
        #expect(a.version != b.version)
        #expect(a.version.utf8.count == 16)
        #expect(String(decoding: a.index.bytes, as: UTF8.self) == "page/\(a.version)/a.js")
        #expect(a["index.html"] == nil)
    }

    @Test func whatIsCompressedIsSmaller() throws {
        let file = try #require(PageFiles.embedded["page.css"])
        let compressed = try #require(file.compressed)
        #expect(compressed.count < file.bytes.count / 2)
        #expect(compressed.starts(with: [0x1F, 0x8B]))
        #expect(PageFile("a.js", [0x41]).compressed == nil)
    }
}

// DKIMTests.swift — canonical forms by the examples of RFC 6376, pieces that make no difference, signatures that hold.

import Mail
import NIOCore
import OpenSSL
import TestSupport
import Testing

@testable import MessageFormat

struct DKIMTests {
    private static let coverage = DKIMSigner.Coverage(
        signed: ["from", "to", "subject"],
        oversigned: ["from", "subject"]
    )

    private static func hash(_ text: String, cut: Int = .max) -> [UInt8] {
        let hash = DKIMBodyHash()
        let bytes = Array(text.utf8)
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start &+ min(cut, bytes.count))
            bytes[start..<end].withUnsafeBytes { hash.update($0) }
            start = end
        }
        return hash.finish()
    }

    /// RFC 6376 §3.4.5 and the corners of §3.4.4.
    @Test(arguments: [
        (" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"), ("", ""), ("\r\n\r\n", ""), (" \r\n\t\r\n", ""), ("x", "x\r\n"),
        ("\r\n\r\nx\r\n", "\r\n\r\nx\r\n"), ("a\t \tb  \r\n", "a b\r\n"), ("a\r\n \r\nb", "a\r\n\r\nb\r\n"),
        ("ü  ß\r\n", "ü ß\r\n"),
    ])
    func bodiesAreRelaxed(body: String, canonical: String) {
        for cut in [1, 2, 3, 7, Int.max] {
            #expect(Self.hash(body, cut: cut) == Digest.sha256(Array(canonical.utf8)), "\(body) by \(cut)")
        }
    }

    @Test func largeBodiesAreHashedInPieces() {
        let line = String(repeating: "word ", count: 50) + "\r\n"
        let canonical = String(repeating: String(repeating: "word ", count: 49) + "word\r\n", count: 1000)
        #expect(Self.hash(String(repeating: line, count: 1000), cut: 4097) == Digest.sha256(Array(canonical.utf8)))
    }

    /// RFC 6376 §3.4.5.
    @Test func fieldsAreRelaxed() {
        let fields = HeaderFields(Array("A: X\r\nB : Y\t\r\n\tZ  \r\n".utf8)).fields
        #expect(fields.map(\.name) == ["a", "b"])
        let relaxed = fields.map { String(decoding: DKIMHeader.relaxed($0.name, $0.value), as: UTF8.self) }
        #expect(relaxed == ["a:X", "b:Y Z"])
    }

    @Test(arguments: [
        ("From: a@x.example\r\n", "x.example"), ("From: A <a@X.Example>\r\n", "x.example"),
        ("From: \"b@y.example\" <a@x.example>\r\n", "x.example"),
        ("From: (c@z.example) a@x.example (d)\r\n", "x.example"),
        ("From: a@x.example, b@y.example\r\n", "x.example"), ("From: group: a@x.example;\r\n", "x.example"),
        ("From:\r\n\tA\r\n <a@x.example>\r\n", "x.example"), ("from : a@x.example\r\n", "x.example"),
        ("From: \u{C4}nne <\u{E4}@b\u{FC}cher.example>\r\n", "xn--bcher-kva.example"),
        ("From: a@b\u{FC}cher.example\r\n", "xn--bcher-kva.example"),
        ("From: Doe, John <a@x.example>\r\n", "x.example"),
        ("From: John Doe a@x.example\r\n", "x.example"), ("From: b@y.example <a@x.example>\r\n", "x.example"),
        ("From: a..b@x.example\r\n", "x.example"), ("From: A <a@x.example\r\n", "x.example"),
        ("From: <@y.example:a@x.example>\r\n", "x.example"), ("From: \"a@y.example\"@x.example\r\n", "x.example"),
    ])
    func theAuthorIsThatOfFrom(header: String, domain: String) {
        #expect(Authors(of: Array(header.utf8)).signingDomain?.name == domain)
    }

    @Test(arguments: [
        "", "To: a@x.example\r\n", "From: nobody\r\n", "From: a@x.example\r\nFrom: b@y.example\r\n", "From: <\r\n",
    ])
    func withoutOneAuthorNothingIsSigned(header: String) {
        #expect(Authors(of: Array(header.utf8)).signingDomain == nil)
    }

    @Test(arguments: [SigningKey.Kind.rsa(bits: 1024), .ed25519])
    func signaturesHold(kind: SigningKey.Kind) throws {
        let key = try SigningKey.generate(kind)
        let domain = Domain(unchecked: "x.example")
        let header = "From: a@x.example\r\nTo: b\r\nSubject: one\r\nSubject:  two \r\n"
        let signer = DKIMSigner(domain: domain, selector: "s", key: key)
        let field = try signer.sign(
            header: Array(header.utf8),
            bodyHash: Self.hash("x"),
            Self.coverage,
            at: Timestamp(milliseconds: 1_795_370_400_000)
        )
        let text = String(decoding: field, as: UTF8.self)
        #expect(
            text.hasPrefix(
                "DKIM-Signature: v=1; a=\(kind == .ed25519 ? "ed25519" : "rsa")-sha256; c=relaxed/relaxed; d=x.example; s=s;\r\n"
            )
        )
        #expect(text.contains("h=from:from:to:subject:subject:subject;"))
        #expect(text.split(separator: "\r\n").allSatisfy { $0.utf8.count <= 78 })
        let parts = text.split(separator: "\tb=", maxSplits: 1)
        let value = try #require(parts.first).dropFirst("DKIM-Signature:".count) + "\tb="
        var data = Array("from:a@x.example\r\nto:b\r\nsubject:two\r\nsubject:one\r\n".utf8)
        data += DKIMHeader.relaxed("dkim-signature", value.utf8)
        let last = try #require(parts.last)
        let signature = try #require(Base64.decode(last.utf8.filter { $0 > 0x20 }))
        #expect(key.isValid(signature, of: kind == .ed25519 ? Digest.sha256(data) : data))
    }

    /// The header, the bar, and the body that is hashed: the one rule of ``HeaderBlock``.
    @Test(arguments: [
        "From: a@x.example\r\nSubject: x\r\n\r\n|\r\nbody  of \r\n\r\ntext\r\n\r\n",
        "From: a@x.example\r\nSubject: x\r\n|no field: here\r\nmore\r\n\r\ntext\r\n",
        "From: a@x.example\r\n|n\r\n", "From: a@x.example\r\n|", "From: a@x.example\r\n\r\n|",
        "From a@y.example Sun Nov 22 10:00:00 2026\r\nFrom: a@x.example\r\n\r\n|text\r\n",
        "From: a@x.example\r\n|From b@y.example\r\n\r\ntext\r\n",
    ])
    func piecesMakeNoDifference(text: String) throws {
        let key = try SigningKey.generate(.ed25519)
        let parts = text.utf8.split(separator: UInt8(ascii: "|"), omittingEmptySubsequences: false).map(Array.init)
        let message = parts[0] + parts[1]
        let keys: DKIMDraft.Keys = { [DKIMSigner(domain: $0, selector: "s", key: key)] }
        let time = Timestamp(milliseconds: 0)
        let draft = Self.draft(of: ByteBuffer(bytes: message), keys)
        let whole = try #require(try draft.complete()?.signatures(Self.coverage, at: time))
        let hash = Base64.encode(Self.hash(String(decoding: parts[1], as: UTF8.self)))
        #expect(String(decoding: whole, as: UTF8.self).contains("d=x.example; s=s;\r\n\tt=0; bh=\(hash);"))
        for cut in 1..<message.count {
            let draft = DKIMDraft(keys: keys)
            var block = HeaderBlock(limit: 1000)
            var start = 0
            while start < message.count {
                let piece = ByteBuffer(bytes: message[start..<min(message.count, start + cut)])
                block.consume(piece, from: 0)
                draft.update(piece, from: 0, block)
                start += cut
            }
            #expect(try draft.complete()?.signatures(Self.coverage, at: time) == whole, "cut by \(cut)")
        }
    }

    @Test func othersAreNotSigned() throws {
        let content = ByteBuffer(string: "From: a@y.example\r\n\r\nx\r\n")
        let work = Self.draft(of: content) { _ in [] }.complete()
        #expect(work == nil)
    }

    /// A message that is all there.
    private static func draft(of content: ByteBuffer, _ keys: @escaping DKIMDraft.Keys) -> DKIMDraft {
        var block = HeaderBlock(limit: .max)
        block.consume(content, from: 0)
        let draft = DKIMDraft(keys: keys)
        draft.update(content, from: 0, block)
        return draft
    }
}

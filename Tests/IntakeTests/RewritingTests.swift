// RewritingTests.swift — rewrite.ini: a corpus of odd fields each with its right value, what no rule names stays to the octet,
// and envelope and header of mail that comes in.

import Config
import Mail
import MessageFormat
import NIOCore
import NIOPosix
import Queue
import Storage
import TestSupport
import Testing

@testable import Intake

/// Two lines of `rewriting.table`.
struct RewritingCase: Sendable, CustomTestStringConvertible {
    let given: String
    let wanted: String
    var testDescription: String { given }

    /// Every case of the table.
    static func load() throws -> [RewritingCase] {
        let text = try TestFiles.text("\(TestFiles.root)/Tables/rewriting.table")
        var cases: [RewritingCase] = []
        var given = ""
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) where !line.hasPrefix("#") {
            let field = line.dropFirst(2).replacing("⏎", with: "\r\n").replacing("⇥", with: "\t") + "\r\n"
            switch line.first {
            case "<": given = String(field)
            case ">": cases.append(RewritingCase(given: given, wanted: String(field)))
            case "=": cases.append(RewritingCase(given: given, wanted: given))
            default: continue
            }
        }
        return cases
    }
}

struct RewritingTests {
    private static let rules = """
        [senders]
        ann@host.internal = ann.author@example.org
        keep@host.internal = keep
        @host.internal = @example.org
        .internal = @example.org
        [recipients]
        boss@old.example = chief@new.example
        @old.example = @new.example
        .dept.example = @example.com
        [options]
        recipients_in = envelope, header
        """

    private static func rewriter(_ text: String, _ way: WayIn = WayIn(.api)) throws -> Rewriter {
        let rewriting = try Rewriting.read(INIDocument(parsing: text))
        return try #require(rewriting.rewriter(for: way, ListenerSettings()))
    }

    private static func rewritten(_ header: String, _ rules: String = rules) throws -> String {
        let bytes = Array(header.utf8)
        let done = try #require(try rewriter(rules).header).rewrite(bytes) ?? bytes
        return String(decoding: done, as: UTF8.self)
    }

    // MARK: Headers

    @Test func everyFieldOfTheCorpusBecomesWhatItShould() throws {
        let cases = try RewritingCase.load()
        #expect(cases.count >= 300)
        for one in cases {
            #expect(try Self.rewritten(one.given).utf8.elementsEqual(one.wanted.utf8), "\(one.given)")
            #expect(
                try Self.rewritten(one.wanted).utf8.elementsEqual(one.wanted.utf8),
                "once more changes nothing: \(one.wanted)"
            )
            let (front, behind) = ("Subject: ann@host.internal\r\n", "X-Rest:  bob@host.internal\r\n\t x\r\n")
            #expect(
                try Self.rewritten(front + one.given + behind).utf8.elementsEqual((front + one.wanted + behind).utf8),
                "among others: \(one.given)"
            )
        }
    }

    /// There and back again: whatever surrounds an address, only the octets of its domain can have changed.
    @Test func whatNoRuleNamesStaysToTheOctet() throws {
        let there = try #require(try Self.rewriter("[senders]\n@host.internal = @away.example\n").header)
        let back = try #require(try Self.rewriter("[senders]\n@away.example = @host.internal\n").header)
        let pieces = [
            "bob@host.internal", "<bob@host.internal>", "x@other.example", "<x@other.example>", ", ", ",", ";", ": ",
            "\r\n ", "\r\n\t", " ", "(", ")", "\"", "\\", "\"a, b\"", "(c, d)", "=?utf-8?q?=2C?=", "Grüße", "\u{301}",
            "@", "<", ">", "[1.2.3.4]", "bob @ host.internal", "Team: ", "\u{0}", "<@r.example:bob@host.internal>",
        ]
        var random = SeededRandom(seed: 17)
        var changed = 0
        for _ in 0..<20_000 {
            let name = ["From", "Sender", "Reply-To", "To", "Subject", "Errors-To"].randomElement(using: &random) ?? ""
            var value = ""
            for _ in 0..<Int.random(in: 0...12, using: &random) { value += pieces.randomElement(using: &random) ?? "" }
            let header = Array("Received: x\r\n\(name): \(value)\r\nX: y\r\n".utf8)
            guard let away = there.rewrite(header) else { continue }
            changed += 1
            #expect(away != header)
            #expect(back.rewrite(away) == header, "\(value.debugDescription)")
            #expect(there.rewrite(away) == nil, "idempotent: \(value.debugDescription)")
        }
        #expect(changed > 400)
    }

    @Test func keepsWhatAFieldSaid() throws {
        let rules = "[senders]\n@host.internal = @example.org\n[options]\nkeep_original = X-Original-\n"
        #expect(
            try Self.rewritten("FROM : Ann\r\n <ann@host.internal>\r\nTo: x@y.example\r\n", rules)
                == "FROM : Ann\r\n <ann@example.org>\r\nX-Original-FROM : Ann\r\n <ann@host.internal>\r\nTo: x@y.example\r\n"
        )
    }

    @Test func noLineGrowsBeyondWhatALineMayHave() throws {
        let rules = "[senders]\n@a.example = @\(String(repeating: "long.", count: 20))example\n"
        let list = (1...40).map { "Name \($0) <n\($0)@a.example>" }.joined(separator: ", ")
        let done = try Self.rewritten("Reply-To: \(list)\r\n", rules)
        let lines = done.split(separator: "\r\n")
        #expect(lines.count > 1 && lines.allSatisfy { $0.utf8.count <= 998 })
        #expect(AddressList(done.utf8.dropFirst("Reply-To:".utf8.count)).entries.count == 40)
    }

    // MARK: Tables

    @Test func theClosestTableDecides() throws {
        let text = """
            [senders]
            * = all@example.org
            [senders client 10.0.0.0/8]
            @x.example = wide@example.org
            [senders client 10.1.0.0/16]
            @x.example = close@example.org
            [senders login shop]
            shop@x.example = login@example.org
            [senders listener 127.0.0.1:25]
            @x.example = @listener.example
            """
        let ten = IPAddress("10.1.2.3")
        let here = ListenAddress("127.0.0.1:25")
        let cases: [(WayIn, String, String)] = [
            (WayIn(.api), "a@x.example", "all@example.org"),
            (WayIn(.smtp(here)), "a@x.example", "a@listener.example"),
            (WayIn(.smtp(here), client: ten), "a@x.example", "close@example.org"),
            (WayIn(.smtp(here), client: IPAddress("10.2.0.1")), "a@x.example", "wide@example.org"),
            (WayIn(.smtp(here), client: ten, login: "shop"), "shop@x.example", "login@example.org"),
            (WayIn(.smtp(here), client: ten, login: "shop"), "a@x.example", "close@example.org"),
            (WayIn(.smtp(here), client: ten, login: "Shop"), "shop@x.example", "close@example.org"),
            (WayIn(.smtp(here), client: ten), "a@y.example", "all@example.org"),
        ]
        for (way, given, wanted) in cases {
            let address = try #require(EmailAddress(given))
            #expect(try "\(Self.rewriter(text, way).rewritten(address, .senders))" == wanted, "\(way) \(given)")
        }
    }

    @Test(arguments: [
        ("a = b", "rewrite.ini:1: a stands before any [senders] or [recipients]"),
        ("[sender]\n", "rewrite.ini:1: [sender] is not senders, recipients, options, srs, bounces or staging"),
        ("[senders for me]\n", "rewrite.ini:1: [senders for me] is not senders"),
        ("[senders client nobody]\n", "rewrite.ini:1: [senders client nobody] is not senders"),
        ("[senders]\nhost.internal = @x.example", "rewrite.ini:2: \"host.internal\" is none of ann@example.org"),
        ("[senders]\n@host.internal = x.example", "rewrite.ini:2: \"x.example\" is none of ann@example.org"),
        ("[senders]\n* = j\u{F6}@x.example", "rewrite.ini:2: \"j\u{F6}@x.example\" is none of"),
        ("[senders]\n@x.example = keep\n@X.example = keep", "rewrite.ini:3: @x.example stands here already"),
        ("[senders]\n[senders]\n", "rewrite.ini:2: [senders] began in line 1 already"),
        ("[options]\nkeep_orginal = X-", "rewrite.ini:2: unknown key keep_orginal; did you mean keep_original?"),
        ("[options]\nkeep_original = X: y", "rewrite.ini:2: keep_original:"),
        ("[options]\nsenders_in = body", "rewrite.ini:2: senders_in: \"body\" is neither"),
    ])
    func saysWhatIsWrong(text: String, reason: String) {
        let error = #expect(throws: ConfigErrors.self) { try Rewriting.read(INIDocument(parsing: text)) }
        #expect(error?.errors.first?.description.hasPrefix(reason) == true, "\(String(describing: error))")
    }

    @Test func aTableIsWrittenAndTakenAway() throws {
        var document = INIDocument(parsing: "; ours\n[senders]\n@a.example = @b.example\n; stays\n")
        var table = try #require(Rewriting.table("senders"))
        try table.add("@c.example", "keep", at: "")
        try Rewriting.put(table, in: &document)
        #expect(document.text.contains("; ours") && document.text.contains("; stays"))
        let tables = Rewriting.tables(in: document)
        #expect(tables.map(\.name) == ["senders"])
        #expect(tables.first?.rules.map { "\($0.match) = \($0.target)" } == ["@c.example = keep"])
        #expect(Rewriting.remove("senders", in: &document))
        #expect(!Rewriting.remove("senders", in: &document))
    }

    // MARK: Mail

    private static func accepted(
        _ rules: String,
        _ envelope: Envelope,
        _ text: String,
        from provenance: Provenance = Provenance(.api)
    ) async throws -> NewMessage {
        let intake = try TestIntake { $0.rewriting = try Rewriting.read(INIDocument(parsing: rules)) }
        let submission = Submission(envelope, ByteBuffer(string: text), from: provenance)
        guard case .queued = await intake.intake.submit(submission, on: TestIntake.loops.next()) else {
            throw NotTaken()
        }
        return try #require(intake.store.messages.first)
    }

    private static func envelope(_ sender: String, _ recipients: String...) throws -> Envelope {
        Envelope(
            sender: EmailAddress(sender).map { .address($0) } ?? .null,
            recipients: try recipients.map { Recipient(try #require(EmailAddress($0))) }
        )
    }

    @Test func envelopeAndHeaderChangeTogether() async throws {
        let message = try await Self.accepted(
            Self.rules + "\nkeep_original = X-Was-",
            try Self.envelope("bob@host.internal", "boss@old.example", "chief@new.example", "c@x.example"),
            "From: bob@host.internal\r\nTo: boss@old.example\r\n\r\nFrom: bob@host.internal\r\n"
        )
        #expect("\(message.envelope.sender)" == "bob@example.org")
        #expect(message.envelope.recipients.map(\.address.description) == ["chief@new.example", "c@x.example"])
        let text = String(decoding: try message.content.read(at: 0, count: message.content.size), as: UTF8.self)
        #expect(text.contains("\r\nX-Was-Mail-From: <bob@host.internal>\r\n"))
        #expect(!text.contains("Rcpt-To"), "there are several")
        #expect(
            text.hasSuffix(
                "From: bob@example.org\r\nX-Was-From: bob@host.internal\r\nTo: chief@new.example\r\n"
                    + "X-Was-To: boss@old.example\r\n\r\nFrom: bob@host.internal\r\n"
            )
        )
    }

    @Test func nobodyStaysNobody() async throws {
        let message = try await Self.accepted(
            "[senders]\n* = a@example.org\n",
            try Self.envelope("", "b@x.example"),
            "Subject: x\r\n\r\n"
        )
        #expect(message.envelope.sender == .null)
    }

    @Test func reportsOfOursStay() async throws {
        let message = try await Self.accepted(
            "[recipients]\n* = a@example.org\n[senders]\n* = b@example.org\n",
            try Self.envelope("", "b@x.example"),
            "From: daemon@x.example\r\n\r\n",
            from: Provenance(.inside, about: QueueID(rawValue: 7))
        )
        #expect(message.envelope.recipients.first?.address.description == "b@x.example")
        let text = String(decoding: try message.content.read(at: 0, count: message.content.size), as: UTF8.self)
        #expect(text.contains("From: daemon@x.example"))
    }
}

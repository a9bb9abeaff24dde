// ArchivingTests.swift — archive.ini: one copy for each message over every mixture of sections, recipients and sizes, what it
// holds, and what becomes of a message whose copy cannot be made.

import Config
import Files
import Glibc
import Log
import Mail
import MessageFormat
import NIOCore
import NIOPosix
import Queue
import Storage
import TestSupport
import Testing

@testable import Intake

struct ArchivingTests {
    private static let law = "[law]\nto = archive@vault.example\n"

    private static func intake(
        _ text: String,
        _ change: (inout Settings) throws -> Void = { _ in }
    ) throws -> TestIntake {
        try TestIntake { settings in
            settings.archive = try ArchiveSettings.read(INIDocument(parsing: text))
            try change(&settings)
        }
    }

    private static func submit(
        _ intake: TestIntake,
        _ sender: String = "a@x.example",
        _ recipients: [String] = ["b@y.example"],
        _ text: String = "From: a@x.example\r\nSubject: one\r\nMessage-ID: <m1@x.example>\r\n\r\na line\r\n",
        from provenance: Provenance = Provenance(.api)
    ) async throws -> Admission {
        let envelope = Envelope(
            sender: EmailAddress(sender).map { .address($0) } ?? .null,
            recipients: try recipients.map { Recipient(try #require(EmailAddress($0))) }
        )
        let submission = Submission(envelope, ByteBuffer(string: text), from: provenance)
        return await intake.intake.submit(submission, on: TestIntake.loops.next())
    }

    private static func text(_ message: NewMessage) throws -> String {
        String(decoding: try message.content.read(at: 0, count: message.content.size), as: UTF8.self)
    }

    private static func copies(_ intake: TestIntake) -> [NewMessage] {
        intake.store.messages.filter { $0.envelope.archivedMessage != nil }
    }

    @Test func theCopyHoldsEnvelopeAndMessageAsItGoesOut() async throws {
        let intake = try Self.intake(Self.law)
        guard
            case .queued(let id, let others) = try await Self.submit(
                intake,
                "a@x.example",
                ["b@y.example", "c@z.example"]
            )
        else { throw NotTaken() }
        #expect(others.isEmpty, "the copy is nobody's business")
        let copy = try #require(Self.copies(intake).first)
        let message = try #require(intake.store.messages.first { $0.id == id })
        #expect(intake.store.messages.map(\.id) == [copy.id, id], "the copy is written first")
        #expect(copy.envelope.sender == .null && copy.envelope.archivedMessage == id.description)
        #expect(copy.envelope.recipients.map(\.address.description) == ["archive@vault.example"])
        let report = try Self.text(copy)
        #expect(report.contains("X-MS-Journal-Report:"))
        #expect(report.contains("\r\nSubject: one\r\n"))
        #expect(
            report.contains(
                "\r\n\r\nSender: a@x.example\r\nMessage-Id: <m1@x.example>\r\nRecipient: b@y.example\r\nRecipient: c@z.example\r\n"
            )
        )
        let parts = report.components(between: "\r\n\r\n" + (try Self.text(message)) + "\r\n--")
        #expect(parts.count == 2, "octet for octet")
        #expect(parts.last?.hasSuffix("--\r\n") == true)
    }

    @Test func headersInFrontInTheOtherForm() async throws {
        let intake = try Self.intake(Self.law + "form = headers\nfrom = keeper@x.example\n")
        _ = try await Self.submit(intake, "a@x.example", ["b@y.example", "c@z.example"])
        let copy = try #require(Self.copies(intake).first)
        let message = try #require(intake.store.messages.last)
        #expect("\(copy.envelope.sender)" == "keeper@x.example")
        let text = try Self.text(copy)
        #expect(text.hasPrefix("X-Martlet-Archive: "))
        #expect(
            text.hasSuffix(
                "X-Envelope-From: <a@x.example>\r\nX-Envelope-To: <b@y.example>\r\nX-Envelope-To: <c@z.example>\r\n"
                    + (try Self.text(message))
            )
        )
    }

    /// Sections that fit or do not, recipients once or twice, split or not, in memory or in a file.
    @Test func oneCopyOverEveryMixture() async throws {
        var random = SeededRandom(seed: 11)
        let sections = [
            "[a]\nto = archive@vault.example\n",
            "[b]\nto = archive@vault.example, second@vault.example\nform = headers\n",
            "[c]\nto = third@vault.example\nsenders = @x.example\nrequired = true\n",
            "[d]\nto = archive@vault.example\nrecipients = .z.example, b@y.example\n",
            "[e]\nto = archive@vault.example\nfor = login shop\n",
            "[f]\nto = archive@vault.example\nsenders = <>\n",
        ]
        let names = ["b@y.example", "c@q.z.example", "d@w.example", "b@y.example", "e@w.example"]
        for round in 0..<300 {
            let chosen = sections.filter { _ in Bool.random(using: &random) }
            let splits = Bool.random(using: &random)
            let intake = try Self.intake(chosen.joined()) {
                $0.outbound.alwaysSplit = splits
                $0.listener.inMemoryBytes = Bool.random(using: &random) ? 64 : 1 << 20
            }
            let sender = ["a@x.example", "a@other.example", ""].randomElement(using: &random) ?? ""
            let recipients = (0..<Int.random(in: 1...4, using: &random)).compactMap { _ in
                names.randomElement(using: &random)
            }
            let text =
                "From: a@x.example\r\n\r\n"
                + String(repeating: "line\r\n", count: Int.random(in: 0...50, using: &random))
            guard case .queued = try await Self.submit(intake, sender, recipients, text) else { throw NotTaken() }
            let fits: Set<Substring> = Set(
                chosen.filter { section in
                    switch section.dropFirst().first {
                    case "a", "b": true
                    case "c": sender == "a@x.example"
                    case "d": recipients.contains { $0 == "b@y.example" || $0 == "c@q.z.example" }
                    case "f": sender.isEmpty
                    default: false
                    }
                }.map { $0.prefix(3) }
            )
            var archives: Set<String> = []
            if !fits.isDisjoint(with: ["[a]", "[b]", "[d]", "[f]"]) { archives.insert("archive@vault.example") }
            if fits.contains("[b]") { archives.insert("second@vault.example") }
            if fits.contains("[c]") { archives.insert("third@vault.example") }
            let copies = Self.copies(intake)
            #expect(copies.count == (archives.isEmpty ? 0 : 1), "round \(round)")
            #expect(
                Set(copies.flatMap { $0.envelope.recipients.map(\.address.description) }) == archives,
                "round \(round)"
            )
            #expect(
                intake.store.messages.count - copies.count
                    == (splits && recipients.count > 1 ? Set(recipients).count : 1),
                "round \(round)"
            )
            for copy in copies {
                let whole = try Self.text(copy)
                for recipient in recipients { #expect(whole.contains(recipient)) }
                #expect(whole.contains(text), "the message is in it, in memory or in a file")
            }
            #expect(
                await eventually { intake.memory.used == intake.store.messages.reduce(0) { $0 + $1.residentBytes } }
            )
        }
    }

    @Test func whatIsNoMailOfOthersIsNotCopied() async throws {
        let intake = try Self.intake(Self.law)
        _ = try await Self.submit(intake, from: Provenance(.inside, about: QueueID(rawValue: 3)))
        #expect(Self.copies(intake).isEmpty, "a report of ours")
        _ = try await Self.submit(intake, "a@x.example", ["Archive@vault.example"])
        #expect(Self.copies(intake).isEmpty, "mail for the archive alone")
        _ = try await Self.submit(intake, "a@x.example", ["archive@vault.example", "b@y.example"])
        #expect(Self.copies(intake).count == 1)
    }

    @Test func aCopyThatComesBackIsKnownAndNobodyElsesMarkIs() async throws {
        let intake = try Self.intake(Self.law)
        _ = try await Self.submit(intake)
        let copy = try Self.text(try #require(Self.copies(intake).first))
        _ = try await Self.submit(intake, "archive@vault.example", ["b@y.example"], copy)
        #expect(Self.copies(intake).count == 1, "it came back")
        let forged = "X-Martlet-Archive: 4711 \(Base64.encode([UInt8](repeating: 7, count: 18)))\r\n\r\n"
        _ = try await Self.submit(intake, "a@x.example", ["b@y.example"], forged)
        #expect(Self.copies(intake).count == 2, "whoever hides from the archive with a mark of his own does not")
    }

    @Test func theMarksOfAnEarlierProcessAreKnown() throws {
        let directory = "/tmp/martlet-marks-\(UInt64.random(in: 0 ... .max))"
        let (disk, log) = (LinuxDisk(), LogSink(level: .critical))
        try disk.makeDirectory(directory, permissions: 0o700)
        defer {
            try? disk.unlink("\(directory)/archive.key")
            rmdir(directory)
        }
        let id = QueueID(rawValue: 4711)
        let mark = ArchiveMarks(in: directory, disk, log: log).mark(id)
        #expect(ArchiveMarks(in: directory, disk, log: log).isOurs(mark))
        #expect(!ArchiveMarks().isOurs(mark) && !ArchiveMarks(in: "/nowhere/at/all", disk, log: log).isOurs(mark))
        #expect(try disk.status("\(directory)/archive.key", following: false)?.permissions == 0o600)
    }

    @Test(arguments: [true, false])
    func withoutRoomARequiredCopyKeepsTheMessageOut(isRequired: Bool) async throws {
        let intake = try Self.intake(Self.law + "required = \(isRequired)\n") { $0.listener.inMemoryBytes = 64 }
        let text = "From: a@x.example\r\n\r\n" + String(repeating: "a long line\r\n", count: 30)
        intake.store.setMostBodies(1)
        let answer = try await Self.submit(intake, "a@x.example", ["b@y.example"], text)
        if isRequired {
            #expect(answer == .refused(Refusal(because: .broken("x"))))
            #expect(intake.store.messages.isEmpty)
        } else {
            guard case .queued(let id, _) = answer else { throw NotTaken() }
            #expect(intake.store.messages.map(\.id) == [id])
        }
        #expect(
            await eventually { intake.memory.used == intake.store.messages.reduce(0) { $0 + $1.residentBytes } }
        )
    }

    @Test func whatTheDiskLosesIsLostTogether() async throws {
        let intake = try Self.intake(Self.law)
        intake.store.set(.failing(.broken("EIO")))
        let answer = try await Self.submit(intake)
        #expect(answer == .refused(Refusal(because: .broken("EIO"))))
        #expect(intake.store.messages.isEmpty)
        #expect(await eventually { intake.memory.used == 0 })
    }

    @Test(arguments: [
        ("to = a@x.example", "archive.ini:1: to stands before any [NAME]"),
        ("[law]\nform = journal\n", "archive.ini:1: [law] has no to"),
        ("[law]\nto = nobody\n", "archive.ini:2: \"nobody\" is not an address"),
        ("[law]\nto = a@x.example\nform = mbox\n", "archive.ini:3: form: \"mbox\" is neither"),
        ("[law]\nto = a@x.example\nfor = all\n", "archive.ini:3: \"all\" is none of"),
        ("[law]\nto = a@x.example\nsender = @x.example\n", "archive.ini:3: unknown key sender; did you mean senders?"),
        ("[law]\nto = a@x.example\nto = b@x.example\n", "archive.ini:3: to stands here already"),
        ("[law]\nto = a@x.example\nrequired = perhaps\n", "archive.ini:3: \"perhaps\" is neither true nor false"),
    ])
    func saysWhatIsWrong(text: String, reason: String) {
        let error = #expect(throws: ConfigErrors.self) { try ArchiveSettings.read(INIDocument(parsing: text)) }
        #expect(error?.errors.first?.description.hasPrefix(reason) == true, "\(String(describing: error))")
    }
}

extension String {
    /// The pieces around every occurrence.
    fileprivate func components(between text: String) -> [String] {
        var pieces: [String] = []
        var rest = Array(utf8)[...]
        let wanted = Array(text.utf8)
        var piece: [UInt8] = []
        while let byte = rest.first {
            if rest.starts(with: wanted) {
                pieces.append(String(decoding: piece, as: UTF8.self))
                piece = []
                rest = rest.dropFirst(wanted.count)
            } else {
                piece.append(byte)
                rest = rest.dropFirst()
            }
        }
        return pieces + [String(decoding: piece, as: UTF8.self)]
    }
}

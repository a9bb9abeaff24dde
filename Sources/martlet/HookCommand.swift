// HookCommand.swift — `martlet hook test`: asks a program of `hooks.ini` about a message in a file, and prints what it would
// change; nothing is sent, queued or remembered.

import ArgumentParser
import Config
import Files
import HTTPClient
import Hooks
import JSON
import Log
import Mail
import MessageFormat
import NIOCore
import NIOPosix
import Operator
import RemoteHooks

/// Programs that answer hooks.
struct HookCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hook",
        abstract: "Try programs that answer hooks.",
        subcommands: [HookTest.self]
    )
}

/// Asks one of them.
struct HookTest: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test",
        abstract: "Ask a program `queue_outbound` about a message in a file, and print what it would change.",
        discussion: "Nothing is sent. Exit status 1 when there is no answer that can be used."
    )
    /// Bytes of a message that are read.
    private static let largest = 64 << 20

    @Argument(help: "The section of hooks.ini.")
    var name: String
    @Argument(help: "A message, header and body.")
    var file: String
    @Option(help: "The envelope's sender, or <>; else the author of the message.")
    var from: String?
    @Option(help: "A recipient; may be given several times; else those of To and Cc.")
    var to: [String] = []
    @OptionGroup var place: ConfigOption
    @Flag(help: "A JSON object, for programs.")
    var json = false

    func run() throws {
        let endpoint = try endpoint()
        let message = try message()
        let envelope = try envelope(of: message)
        let log = LogSink(level: .info)
        defer { log.close() }
        let program = HookProgram(
            endpoint,
            client: HTTPClient(),
            threads: .ofTheirOwn(1),
            log: log
        )
        let contents = MessageContents(size: message.count) { offset, count throws(Failure) in
            Array(message[min(offset, message.count)..<min(offset + count, message.count)])
        }
        let answer = try MultiThreadedEventLoopGroup.singleton.next()
            .makeFutureWithTask { await program.answer(to: envelope, contents) }.wait()
        guard let answer else {
            Output.complain("\(name) gave no answer that can be used; without one mail goes by `fail` of its section")
            throw ExitCode(1)
        }
        let found = HookFinding(envelope, answer)
        print(json ? found.object.text : found.lines.joined(separator: "\n"))
    }

    private func endpoint() throws -> HookSettings.Endpoint {
        let (environment, _) = Environment.ofThisProcess()
        let settings: Settings
        do throws(ConfigErrors) {
            settings = try ProcessSettings.read(place.directory(environment), environment).current
        } catch {
            for error in error.errors { Output.complain(error.description) }
            throw ExitCode(1)
        }
        guard let endpoint = settings.hooks.endpoints.first(where: { $0.name.isSame(octets: name) }) else {
            throw ValidationError("hooks.ini has no section [\(name)]")
        }
        guard endpoint.hooks.has(.queueOutbound) else {
            throw ValidationError("[\(name)] does not answer queue_outbound, which is what a message is asked about")
        }
        return endpoint
    }

    private func message() throws -> [UInt8] {
        do {
            return Array(try LineEnds.crlf(try LinuxDisk().contents(of: file, limit: Self.largest)).readableBytesView)
        } catch {
            throw ValidationError("\(file) cannot be read as a message: \(error)")
        }
    }

    private func envelope(of message: [UInt8]) throws -> Envelope {
        let header = Array(message.prefix(message.withUnsafeBytes { HeaderBlock.size(in: $0) }))
        func addresses(_ names: String...) -> [EmailAddress] {
            // characters: names of fields are ASCII
            HeaderFields(header).fields.filter { names.contains($0.name) }
                .flatMap { AddressList($0.value).entries.compactMap(\.address) }
        }
        var sender = addresses("from").first.map { ReversePath.address($0) } ?? .null
        if let from { sender = from.isSame(octets: "<>") ? .null : .address(try address(from)) }
        let recipients = to.isEmpty ? addresses("to", "cc") : try to.map(address)
        guard !recipients.isEmpty else { throw ValidationError("the message names no recipient; give one with --to") }
        return Envelope(
            sender: sender,
            recipients: recipients.map { Recipient($0) },
            isEightBit: message.contains { $0 > 127 }
        )
    }

    private func address(_ text: String) throws -> EmailAddress {
        guard let address = EmailAddress(text) else { throw ValidationError("\(text) is no address") }
        return address
    }
}

/// What a program would do to a message.
private struct HookFinding {
    private var members: [(name: String, value: JSON)] = []
    private let verdict: String

    init(_ old: Envelope, _ answer: (QueueOutboundAnswer, Envelope)) {
        let new = answer.1
        var edits = MessageEdits()
        switch answer.0 {
        case .next: verdict = "goes on"
        case .edit(let wanted): (verdict, edits) = ("goes on", wanted)
        case .taken: verdict = "taken: nothing is queued"
        case .reject(let reply): verdict = "rejected: \(reply)"
        }
        if old.sender != new.sender { members.append(("change_sender", .string("\(new.sender)"))) }
        let more = new.recipients.filter { !old.recipients.contains($0) }
        if !more.isEmpty { members.append(("add_recipient", .strings(more.map(\.address.description)))) }
        if !edits.added.isEmpty {
            members.append(("add_header", .strings(edits.added.map { String($0.lines.trimmedLine) })))
        }
        if !edits.removed.isEmpty { members.append(("remove_header", .strings(edits.removed.sorted()))) }
        if let hold = edits.hold { members.append(("hold", .string(hold))) }
        if let tag = edits.tag { members.append(("tag", .string(tag))) }
        if old.notes != new.notes { members.append(("notes", .string("changed"))) }
    }

    var object: JSON {
        .object([JSON.Member("answer", .string(verdict))] + members.map { JSON.Member($0.name, $0.value) })
    }

    var lines: [String] { [verdict] + members.map { "\($0.name): \($0.value.text)" } }
}

extension String {
    /// Without the line end behind it.
    fileprivate var trimmedLine: Substring { rest(before: "\r\n") ?? self[...] }
}

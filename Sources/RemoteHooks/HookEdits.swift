// HookEdits.swift — what a program may change in a message by its answer to `queue_outbound`: read, checked and bounded by the
// functions that check the same things of everybody else.

import Hooks
import JSON
import Mail
import MessageFormat

/// The members of an answer that change something.
struct HookEdits: Sendable {
    private var fields: [(name: String, value: String)] = []
    private var removed: [String] = []
    private var sender: String?
    private var recipients: [String] = []
    private var hold: String?
    private var tag: String?

    init() {}

    /// Takes them from an answer.
    ///
    /// - Throws: for a member of another type than it has to be.
    init(_ object: inout ObjectReader<HookFault>) throws(HookFault) {
        if let headers = try object.object("add_header") {
            for (name, value) in headers.rest {
                for value in value.list {
                    guard let text = value.string else {
                        throw HookFault(headers.pointer(name), "type", "must be a text or a list of texts")
                    }
                    fields.append((name, text))
                }
            }
        }
        removed = try object.strings("remove_header", atMost: MessageEdits.mostFields) ?? []
        sender = try object.text("change_sender")
        recipients = try object.strings("add_recipient", atMost: MessageEdits.mostRecipients) ?? []
        hold = try object.text("hold")
        tag = try object.text("tag")
        guard fields.count <= MessageEdits.mostFields else {
            throw HookFault("/add_header", "length", "has more than \(MessageEdits.mostFields) fields")
        }
    }

    /// Changes an envelope, and says what else is to be changed.
    ///
    /// - Throws: for what no message may have.
    func apply(to envelope: inout Envelope) throws(HookFault) -> QueueOutboundAnswer {
        var edits = MessageEdits()
        for (name, value) in fields {
            guard let lines = HeaderLine.make(name, value) else {
                throw HookFault("add_header: no field of this name and text can be added")
            }
            edits.added.append(MessageEdits.Field(name: name, lines: lines))
        }
        for name in removed {
            guard HeaderLine.isRemovable(name) else { throw HookFault("remove_header: a name that has to stay") }
            edits.removed.insert(name.lowercasedASCII)
        }
        if let sender { envelope.sender = try Self.path(sender) }
        for text in recipients {
            guard let address = EmailAddress(text) else { throw HookFault("add_recipient: an address is none") }
            guard !envelope.recipients.contains(where: { $0.address == address }) else { continue }
            envelope.recipients.append(Recipient(address))
            if !address.isASCII { envelope.needsUTF8 = true }
        }
        if case .address(let address) = envelope.sender, !address.isASCII { envelope.needsUTF8 = true }
        edits.hold = hold.map { $0.isEmpty ? "a program holds it" : $0 }
        if let tag {
            guard (1...255).contains(tag.utf8.count), tag.utf8.allSatisfy({ (0x21...0x7E).contains($0) || $0 == 0x20 })
            else {
                throw HookFault("tag: 1 to 255 letters of ASCII")
            }
            edits.tag = tag
        }
        return edits.isEmpty ? .next : .edit(edits)
    }

    private static func path(_ text: String) throws(HookFault) -> ReversePath {
        if text.isEmpty || text.isSame(octets: "<>") { return .null }
        guard let address = EmailAddress(text) else { throw HookFault("change_sender: is no address") }
        return .address(address)
    }
}

extension JSON {
    /// The values of a list, or the one that is none.
    fileprivate var list: [JSON] { if case .array(let values) = self { values } else { [self] } }
}

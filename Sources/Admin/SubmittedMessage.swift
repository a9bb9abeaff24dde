// SubmittedMessage.swift — what `POST /v1/messages` takes, into an envelope and the bytes of a message.

import JSON
import Mail
import MessageFormat
import NIOCore
import OpenSSL

/// A message as a client sends it.
struct SubmittedMessage {
    var envelope: Envelope
    var content: ByteBuffer
    /// Not before; nil: now.
    var sendAt: Timestamp?

    private static let most = 100

    // MARK: - Raw

    /// `message/rfc822`: the envelope stands in the query.
    ///
    /// - Parameters:
    ///   - limit: of the recipients.
    ///   - here: completes addresses without a domain; nil: they are none.
    init(raw request: AdminRequest, limit: Int, here: Domain? = nil) throws(Problem) {
        try request.allowQuery(["from", "send_at"], lists: ["to"])
        sendAt = try Self.time(request.value("send_at"), "?send_at")
        guard let from = request.value("from") else {
            throw Problem.invalid("?from", "required", "is missing: the sender's address, or <>")
        }
        let sender = try Self.sender(from, "?from", here)
        var recipients: [EmailAddress] = []
        for text in request.values("to") { recipients += try Self.recipients(text, "?to", here) }
        guard !recipients.isEmpty else { throw Problem.invalid("?to", "required", "is missing: the recipients") }
        guard recipients.count <= limit else {
            throw Problem.invalid("?to", "length", "has more than \(limit) recipients")
        }
        guard !request.content.isEmpty else { throw Problem.invalid("", "required", "the body is the message") }
        let (bytes, release) = request.content.take()
        defer { release() }
        try request.reserve(Self.room(bytes.count + bytes.count { $0 == 0x0A } + 2))
        content = try Self.lines(bytes)
        envelope = Self.envelope(sender, recipients, content)
    }

    /// What a buffer for so many bytes takes.
    private static func room(_ bytes: Int) -> Int { 1 << (Int.bitWidth - (bytes - 1).leadingZeroBitCount) }

    private static func recipients(
        _ text: String,
        _ pointer: String,
        _ here: Domain?
    ) throws(Problem) -> [EmailAddress] {
        let list = AddressList(text.utf8)
        let found = list.entries.compactMap { $0.address(on: here) }
        guard list.fault == nil, found.count == list.entries.count else {
            let fault = list.fault.map { "\($0)" } ?? "an address has no domain"
            throw Problem.invalid(pointer, "format", "\(fault) (a plus sign is %2B in a query)")
        }
        return found
    }

    /// The message with the line ends of SMTP: what SMTP would refuse is refused.
    private static func lines(_ bytes: [UInt8]) throws(Problem) -> ByteBuffer {
        do throws(LineEnds.Fault) { return try LineEnds.crlf(bytes) } catch {
            switch error {
            case .nul: throw Problem.invalid("", "control-character", "the message \(error)")
            case .bareCR: throw Problem.invalid("", "line-end", "the message \(error)")
            }
        }
    }

    // MARK: - JSON

    /// Flat JSON, as the well-known services take it.
    ///
    /// - Parameters:
    ///   - limit: of the recipients.
    ///   - largest: bytes of a message.
    ///   - here: completes addresses without a domain; nil: they are none.
    init(json request: AdminRequest, limit: Int, largest: Int, here: Domain? = nil) throws(Problem) {
        try request.allowQuery([])
        var body = try JSONObject(request.json(), at: "")
        guard let from = try body.string("from").map({ text throws(Problem) in try Self.mailbox(text, "/from", here) })
        else {
            throw Problem.invalid("/from", "required", "is missing: \"Name <address>\" or an address")
        }
        var message = ComposedMessage(from: from)
        message.to = try Self.mailboxes(&body, "to", here)
        message.cc = try Self.mailboxes(&body, "cc", here)
        let bcc = try Self.mailboxes(&body, "bcc", here)
        message.replyTo = try Self.mailboxes(&body, "reply_to", here)
        message.subject = try body.string("subject", atMost: 4096) ?? ""
        message.text = try Self.text(&body, "text")
        message.html = try Self.text(&body, "html")
        try Self.fields(&body, &message)
        message.attachments = try Self.attachments(&body, request)
        try Self.tags(&body, &message)
        let path = try body.object("envelope")
        sendAt = try Self.time(try body.string("send_at"), "/send_at")
        try body.finish()
        var sender = ReversePath.address(from.address)
        var recipients = (message.to + message.cc + bcc).map(\.address)
        if var path {
            try path.refuseNull("mail_from")
            if let text = try path.string("mail_from") { sender = try Self.sender(text, "/envelope/mail_from", here) }
            if let list = try path.strings("rcpt_to") {
                recipients = []
                for (index, text) in list.enumerated() {
                    recipients.append(try Self.mailbox(text, "/envelope/rcpt_to/\(index)", here).address)
                }
            }
            try path.finish()
        }
        guard !recipients.isEmpty else { throw Problem.invalid("/to", "required", "names nobody") }
        guard recipients.count <= limit else {
            throw Problem.invalid("/to", "length", "has more than \(limit) recipients")
        }
        guard message.text != nil || message.html != nil || !message.attachments.isEmpty else {
            throw Problem.invalid("/text", "required", "there is neither text nor html nor an attachment")
        }
        // Quoted-printable makes up to three bytes of one, so the text may have fitted.
        guard message.mostBytes <= largest + largest / 4 + 1 << 16 else { throw AdminDesk.tooLarge(largest) }
        try request.reserve(Self.room(message.mostBytes))
        content = message.make()
        envelope = Self.envelope(sender, recipients, content)
    }

    /// A mail for one recipient, to see whether it arrives.
    ///
    /// - Parameter here: completes addresses without a domain; nil: they are none.
    init(test body: inout JSONObject, here: Domain?) throws(Problem) {
        guard let from = try body.string("from") else {
            throw Problem.invalid("/from", "required", "is missing: the sender's address")
        }
        guard let to = try body.string("to") else {
            throw Problem.invalid("/to", "required", "is missing: the recipient's address")
        }
        let sender = try Self.mailbox(from, "/from", here)
        let recipient = try Self.mailbox(to, "/to", here)
        var message = ComposedMessage(from: sender)
        message.to = [recipient]
        message.subject = try body.string("subject", atMost: 998) ?? "Test"
        message.text = try body.string("text", atMost: 8192) ?? "A test. It arrived, so delivery works.\n"
        content = message.make()
        envelope = Self.envelope(.address(sender.address), [recipient.address], content)
    }

    private static func mailboxes(
        _ body: inout JSONObject,
        _ name: String,
        _ here: Domain?
    ) throws(Problem) -> [Mailbox] {
        var found: [Mailbox] = []
        for (index, text) in (try body.strings(name) ?? []).enumerated() {
            found.append(try mailbox(text, "\(body.pointer(name))/\(index)", here))
        }
        return found
    }

    private static func mailbox(_ text: String, _ pointer: String, _ here: Domain?) throws(Problem) -> Mailbox {
        guard let mailbox = Mailbox(text, on: here), mailbox.name.utf8.count <= 500 else {
            throw Problem.invalid(pointer, "format", "is neither an address nor \"Name <address>\"")
        }
        return mailbox
    }

    /// Body text may hold line ends and tabs, and no other control characters.
    private static func text(_ body: inout JSONObject, _ name: String) throws(Problem) -> String? {
        switch body.take(name) {
        case nil, .null: return nil
        case .string(let text):
            guard !text.utf8.contains(0) else {
                throw Problem.invalid(body.pointer(name), "control-character", "holds a NUL")
            }
            return text
        case let other?: throw Problem.invalid(body.pointer(name), "type", "must be a string, not \(other.kind)")
        }
    }

    private static func fields(_ body: inout JSONObject, _ message: inout ComposedMessage) throws(Problem) {
        guard var object = try body.object("headers") else { return }
        guard object.names.count <= most else {
            throw Problem.invalid("/headers", "length", "has more than \(most) fields")
        }
        for name in object.names {
            guard ComposedMessage.isFieldName(name) else {
                throw Problem.invalid(
                    object.pointer(name),
                    "name",
                    "is no name of a field, or of one that the message has by itself"
                )
            }
            guard let value = try object.string(name, atMost: 8192) else {
                throw Problem.invalid(object.pointer(name), "type", "must be a string")
            }
            message.fields.append((name, value))
        }
    }

    /// Tags are for the receiving side's eyes: one field each.
    private static func tags(_ body: inout JSONObject, _ message: inout ComposedMessage) throws(Problem) {
        guard var object = try body.object("tags") else { return }
        guard object.names.count <= most else { throw Problem.invalid("/tags", "length", "has more than \(most) tags") }
        for name in object.names {
            let isPlain =
                (1...64).contains(name.utf8.count) && name.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != 0x3D }
            guard isPlain, let value = try object.string(name, atMost: 256) else {
                throw Problem.invalid(object.pointer(name), "format", "a tag is a name without blanks and a string")
            }
            message.fields.append(("X-Tag", "\(name)=\(value)"))
        }
    }

    private static func attachments(
        _ body: inout JSONObject,
        _ request: AdminRequest
    ) throws(Problem) -> [ComposedMessage.Attachment] {
        var found: [ComposedMessage.Attachment] = []
        for (index, value) in (try body.array("attachments", atMost: most) ?? []).enumerated() {
            let pointer = "\(body.pointer("attachments"))/\(index)"
            var object = try JSONObject(value, at: pointer)
            let name = try object.string("filename", atMost: 255) ?? "attachment"
            let type = try object.string("content_type", atMost: 100) ?? "application/octet-stream"
            let id = try object.string("content_id", atMost: 200)
            let content = object.take("content")?.string
            try request.reserve((content?.utf8.count ?? 0) / 4 * 3)
            guard let content, let bytes = Base64.decode(content.utf8) else {
                throw Problem.invalid("\(pointer)/content", "format", "must be base64")
            }
            try object.finish()
            guard ComposedMessage.isMediaType(type) else {
                throw Problem.invalid("\(pointer)/content_type", "format", "is no type such as application/pdf")
            }
            guard id.map({ $0.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != 0x3C && $0 != 0x3E } }) ?? true
            else {
                throw Problem.invalid("\(pointer)/content_id", "format", "holds blanks or angle brackets")
            }
            found.append(ComposedMessage.Attachment(name: name, type: type, bytes: bytes, contentID: id))
        }
        return found
    }

    /// - Returns: nil when there is none, or it is over.
    private static func time(_ text: String?, _ pointer: String) throws(Problem) -> Timestamp? {
        guard let time = try RequestTime.read(text, pointer) else { return nil }
        return time > .now() ? time : nil
    }

    // MARK: - Envelope

    private static func sender(_ text: String, _ pointer: String, _ here: Domain?) throws(Problem) -> ReversePath {
        if text.isEmpty || text == "<>" { return .null }
        guard let address = EmailAddress(text) ?? here.flatMap({ Mailbox(text, on: $0)?.address }) else {
            throw Problem.invalid(pointer, "format", "is no address (a plus sign is %2B in a query)")
        }
        return .address(address)
    }

    private static func envelope(
        _ sender: ReversePath,
        _ recipients: [EmailAddress],
        _ content: ByteBuffer
    ) -> Envelope {
        var seen: Set<EmailAddress> = []
        let unique = recipients.filter { seen.insert($0).inserted }
        var needsUTF8 = unique.contains { !$0.isASCII }
        if case .address(let address) = sender, !address.isASCII { needsUTF8 = true }
        return Envelope(
            sender: sender,
            recipients: unique.map { Recipient($0) },
            isEightBit: content.readableBytesView.contains { $0 > 127 },
            needsUTF8: needsUTF8
        )
    }
}

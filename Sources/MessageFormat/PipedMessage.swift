// PipedMessage.swift — a message as programs pipe it into `sendmail`: its header looked at and completed, its line ends those
// of SMTP.
//
// Guarantees: whatever a program wrote, the result is a message that SMTP takes: header, empty line, text, lines that end
// in CRLF, no CR or NUL of its own. Nobody who stood in Bcc is named in it.
// Source: RFC 5322 §3.6.3, §3.6.6

package import Mail
import NIOCore

/// A header and a text.
package struct PipedMessage: Sendable {
    private var fields: [HeaderFields.Field]
    private let text: ArraySlice<UInt8>

    /// - Parameter endsAtDot: a line with nothing but a dot ends the message, as it does on a terminal.
    package init(_ input: [UInt8], endsAtDot: Bool) {
        let kept = endsAtDot ? Self.beforeDot(input) : input[...]
        // What is mended holds nothing that is refused.
        let bytes = (try? LineEnds.crlf(LineEnds.mended(Array(kept)))).map { Array($0.readableBytesView) } ?? []
        var block = HeaderBlock(limit: .max)
        bytes.withUnsafeBytes { block.consume($0) }
        fields = HeaderFields(Array(bytes[..<block.size])).fields
        text = bytes[block.size...].dropFirst(block.end == .emptyLine ? 2 : 0)
    }

    private static func beforeDot(_ input: [UInt8]) -> ArraySlice<UInt8> {
        var start = input.startIndex
        while start < input.endIndex {
            let feed = input[start...].firstIndex(of: UInt8(ascii: "\n"))
            let line = input[start..<(feed ?? input.endIndex)]
            if line.elementsEqual(".".utf8) || line.elementsEqual(".\r".utf8) { return input[..<start] }
            start = feed.map { $0 + 1 } ?? input.endIndex
        }
        return input[...]
    }

    /// The values of a field, by its name in lower case.
    package func values(of name: String) -> [ArraySlice<UInt8>] {
        fields.filter { $0.name == name }.map(\.value)
    }

    /// Whom the header names: To, Cc and Bcc; of a message that was resent, whom it was resent to last.
    ///
    /// - Source: RFC 5322 §3.6.6: the first block of `Resent-` fields is the latest
    /// - Throws: the fault of the first field that cannot be read.
    package func recipients() throws(AddressList.Fault) -> [AddressList.Entry] {
        let latest = latestResent
        let prefix = latest.isEmpty ? "" : "resent-"
        let names = ["to", "cc", "bcc"].map { prefix + $0 }
        var found: [AddressList.Entry] = []
        for field in latest.isEmpty ? fields : latest where names.contains(field.name) {
            let list = AddressList(field.value)
            if let fault = list.fault { throw fault }
            found += list.entries
        }
        return found
    }

    /// The fields of the last time that the message was resent: those from the first of them on, without a repetition and
    /// without another field in between.
    private var latestResent: [HeaderFields.Field] {
        let isResent = { (field: HeaderFields.Field) in field.name.utf8.starts(with: "resent-".utf8) }
        guard let start = fields.firstIndex(where: isResent) else { return [] }
        var names: Set<String> = []
        return Array(fields[start...].prefix { isResent($0) && names.insert($0.name).inserted })
    }

    /// Takes out the fields that name secret recipients.
    package mutating func removeSecretRecipients() {
        fields.removeAll { HeaderMender.secret.contains($0.name) }
    }

    /// Completes the addresses in the header that have no domain, as those of the envelope are.
    package mutating func completeAddresses(with domain: Domain) {
        let mender = HeaderMender(LocalMail(me: domain))
        guard let mended = mender.mend(fields.flatMap(\.lines)) else { return }
        fields = HeaderFields(mended.header).fields
    }

    /// Adds `From` behind the other fields.
    ///
    /// - Parameter name: in front of the address; control characters in it become blanks.
    package mutating func addFrom(_ address: String, name: String) {
        let name = HarmlessText.line(name, limit: 500)
        let mailbox = name.isEmpty ? address : "\(EncodedWords.phrase(name)) <\(address)>"
        fields += HeaderFields(Array(EncodedWords.field("From", mailbox).utf8)).fields
    }

    /// The whole message.
    package var bytes: [UInt8] { fields.flatMap(\.lines) + Array("\r\n".utf8) + text }
}

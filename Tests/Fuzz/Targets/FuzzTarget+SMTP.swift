// FuzzTarget+SMTP.swift — what comes over a wire: command lines, replies, dot-stuffed and counted content.

import Mail
import NIOCore
import SMTP

extension FuzzTarget {
    /// What was understood of a recipient can be said again and is understood in the same way.
    static func command(_ bytes: [UInt8]) -> String? {
        let parser = CommandParser(me: Domain(unchecked: "relay.example"))
        func parse(_ line: [UInt8]) -> Command { line.withUnsafeBytes { parser.parse($0, allowsUTF8: true) } }
        guard case .rcpt(let recipient) = parse(bytes) else { return nil }
        guard case .rcpt(let again) = parse(Array("RCPT TO:<\(recipient.address)>".utf8)) else {
            return "an address that was accepted is refused when it is said again: \(recipient.address)"
        }
        return again.address == recipient.address ? nil : "\(recipient.address) is read as \(again.address)"
    }

    /// Replies do not depend on how their bytes arrived, and their text is printable.
    static func reply(_ bytes: [UInt8]) -> String? {
        let cut = Cut(bytes)
        func read(_ pieces: [ArraySlice<UInt8>]) -> [ReplyParser.Output] {
            var parser = ReplyParser()
            var found: [ReplyParser.Output] = []
            for piece in pieces {
                parser.append(ByteBuffer(bytes: piece))
                while true {
                    let output = parser.next()
                    if output == .incomplete { break }
                    found.append(output)
                    if case .malformed = output { return found }
                }
            }
            return found
        }
        let whole = read(cut.bytes.isEmpty ? [] : [cut.bytes])
        if whole != read(cut.pieces) { return "cutting makes a difference" }
        for case .reply(let reply) in whole
        where reply.lines.contains(where: { $0.utf8.contains { $0 < 32 || $0 == 127 } }) {
            return "a control character in the text of a reply"
        }
        return nil
    }

    /// A message ends in the same place however it was cut, and what comes out can be sent again.
    static func dots(_ bytes: [UInt8]) -> String? {
        let cut = Cut(bytes)
        let whole = decode(cut.bytes.isEmpty ? [] : [cut.bytes])
        if whole != decode(cut.pieces) { return "cutting makes a difference" }
        guard whole.hasEnded, whole.isClean else { return nil }
        var (encoder, wire) = (DotEncoder(hasLeadingDots: true), ByteBuffer())
        encoder.encode(ByteBuffer(bytes: whole.body), into: &wire)
        encoder.finish(into: &wire)
        let again = decode([Array(wire.readableBytesView)[...]])
        return again.body == whole.body && again.hasEnded ? nil : "what was decoded does not survive being sent"
    }

    private struct Content: Equatable {
        var body: [UInt8] = []
        var hasEnded = false
        var isClean = true
        var isEightBit = false
    }

    private static func decode(_ pieces: [ArraySlice<UInt8>]) -> Content {
        var (decoder, body, hasEnded) = (DotDecoder(limit: 1 << 16), ByteBuffer(), false)
        for piece in pieces where !hasEnded {
            var input = ByteBuffer(bytes: piece)
            hasEnded = decoder.decode(&input, into: &body)
        }
        // What a decoder keeps of a message that it will refuse is nobody's business.
        let isWanted = hasEnded && decoder.isClean && !decoder.isTooLarge
        return Content(
            body: isWanted ? Array(body.readableBytesView) : [],
            hasEnded: hasEnded,
            isClean: decoder.isClean && !decoder.isTooLarge,
            isEightBit: isWanted && decoder.isEightBit
        )
    }

    /// Of clean counted content every octet is kept, and nothing but a missing last line end is added.
    static func chunks(_ bytes: [UInt8]) -> String? {
        let cut = Cut(bytes)
        func read(_ pieces: [ArraySlice<UInt8>]) -> ([UInt8], Bool) {
            var (decoder, body) = (ChunkDecoder(), ByteBuffer())
            for piece in pieces {
                var input = ByteBuffer(bytes: piece)
                decoder.begin(input.readableBytes)
                _ = decoder.decode(&input, into: &body)
            }
            decoder.finish(&body)
            return (Array(body.readableBytesView), decoder.isClean)
        }
        let whole = read(cut.bytes.isEmpty ? [] : [cut.bytes])
        if whole != read(cut.pieces) { return "cutting makes a difference" }
        guard whole.1 else { return nil }
        return whole.0 == Array(cut.bytes) || whole.0 == cut.bytes + [13, 10] ? nil : "octets were changed"
    }
}

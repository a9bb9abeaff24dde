// ProxyHeader.swift — the PROXY protocol, versions 1 and 2: what a balancer says of the client before the client's first octet.
//
// Guarantees: nothing that is sent can trap; how it is cut into pieces changes nothing; it is never longer than a bound, and every
// length inside of it is checked; what is not understood to the last octet is refused, because the address decides who may relay.
// https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt

package import Mail
package import NIOCore

/// Who is at the other end, as a balancer tells it.
package enum ProxyHeader: Hashable, Sendable {
    /// The balancer itself: a health check.
    case itself
    /// Somebody whose address it does not tell.
    case unknown
    case client(IPAddress, port: UInt16)

    /// Why it is no header.
    package struct Fault: Error, Hashable, Sendable {
        /// In words, printable.
        package let text: String
    }

    private static let signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]
    /// Octets of the longest line of version 1, its CRLF included.
    private static let longestLine = 107
    /// Octets behind the fixed part of version 2 that are taken: addresses, and what a balancer has to say of certificates.
    private static let longestRest = 4096

    /// Takes the header from the front of what arrived.
    ///
    /// - Returns: nil when more has to come; nothing is taken then.
    /// - Throws: when this is none.
    package static func take(_ input: inout ByteBuffer) throws(Fault) -> ProxyHeader? {
        let start = input.readableBytesView
        guard let first = start.first else { return nil }
        if first == signature[0] { return try takeBinary(&input) }
        let word = Array("PROXY ".utf8)
        guard start.prefix(word.count).elementsEqual(word.prefix(start.count)) else {
            throw Fault(text: "it does not begin with a PROXY header")
        }
        guard let feed = start.prefix(longestLine).firstIndex(of: 0x0A) else {
            guard start.count < longestLine else { throw Fault(text: "the line of its PROXY header has no end") }
            return nil
        }
        guard let line = input.readBytes(length: feed + 1 - input.readerIndex), line.dropLast().last == 0x0D else {
            throw Fault(text: "the line of its PROXY header does not end with CRLF")
        }
        return try line1(line.dropLast(2))
    }

    private static func line1(_ line: ArraySlice<UInt8>) throws(Fault) -> ProxyHeader {
        guard line.allSatisfy({ (0x20...0x7E).contains($0) }) else {
            throw Fault(text: "its PROXY header is not printable")
        }
        let words = line.split(separator: 0x20, omittingEmptySubsequences: false).map {
            String(decoding: $0, as: UTF8.self)
        }
        switch words.dropFirst().first {
        case "UNKNOWN": return .unknown
        case let family? where family == "TCP4" || family == "TCP6":
            guard words.count == 6, let source = IPAddress(words[2]), let target = IPAddress(words[3]),
                source.isV6 == (family == "TCP6"), target.isV6 == source.isV6, let port = number(words[4]),
                number(words[5]) != nil
            else { throw Fault(text: "its PROXY header has no two addresses and ports of \(family)") }
            return .client(source, port: port)
        default: throw Fault(text: "its PROXY header names none of TCP4, TCP6, UNKNOWN")
        }
    }

    private static func number(_ text: String) -> UInt16? {
        guard (1...5).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return UInt16(text)
    }

    private static func takeBinary(_ input: inout ByteBuffer) throws(Fault) -> ProxyHeader? {
        let start = input.readableBytesView
        guard start.prefix(signature.count).elementsEqual(signature.prefix(start.count)) else {
            throw Fault(text: "it does not begin with a PROXY header")
        }
        guard start.count >= 16, let verb = input.getInteger(at: input.readerIndex + 12, as: UInt8.self),
            let family = input.getInteger(at: input.readerIndex + 13, as: UInt8.self),
            let length = input.getInteger(at: input.readerIndex + 14, as: UInt16.self)
        else { return nil }
        guard verb == 0x20 || verb == 0x21 else {
            throw Fault(text: "its PROXY header is of no version or command that there is")
        }
        guard Int(length) <= longestRest else {
            throw Fault(text: "its PROXY header has \(length) octets, and \(longestRest) are taken")
        }
        guard start.count >= 16 + Int(length) else { return nil }
        input.moveReaderIndex(forwardBy: 16)
        guard var rest = input.readSlice(length: Int(length)) else { return nil }
        // Whatever else a health check says is to be thrown away.
        if verb == 0x20 { return .itself }
        let told = try addresses(family, &rest)
        try checkExtras(&rest)
        return told
    }

    private static func addresses(_ family: UInt8, _ rest: inout ByteBuffer) throws(Fault) -> ProxyHeader {
        let size: Int
        switch family {
        case 0x00: return .unknown
        case 0x11: size = 4
        case 0x21: size = 16
        // Sockets of the balancer's machine: two paths of 108 octets.
        case 0x31, 0x32:
            guard rest.readSlice(length: 216) != nil else {
                throw Fault(text: "its PROXY header is too short for its addresses")
            }
            return .unknown
        default: throw Fault(text: "its PROXY header is of no family that mail comes by")
        }
        guard let source = rest.readBytes(length: size), rest.readSlice(length: size) != nil,
            let port: UInt16 = rest.readInteger(), rest.readInteger(as: UInt16.self) != nil,
            let address = IPAddress(bytes: source)
        else { throw Fault(text: "its PROXY header is too short for its addresses") }
        return .client(address, port: port)
    }

    /// What stands behind the addresses: kind, length, octets, to the end.
    private static func checkExtras(_ rest: inout ByteBuffer) throws(Fault) {
        while rest.readableBytes > 0 {
            guard rest.readInteger(as: UInt8.self) != nil, let length: UInt16 = rest.readInteger(),
                rest.readSlice(length: Int(length)) != nil
            else { throw Fault(text: "an extension of its PROXY header is longer than the header") }
        }
    }
}

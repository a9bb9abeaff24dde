// DNSServer.swift — a DNS server on loopback that says what a test wants, true or not.

import Glibc
import Mail
import Synchronization

/// Answers over UDP from a table, as a forwarder would; unknown names do not exist.
package final class DNSServer: Sendable {
    /// One record of an answer.
    package enum Record: Sendable {
        case a(String)
        case aaaa(String)
        case mx(UInt16, String)
        case cname(String)
        /// Any type with any data.
        case raw(type: UInt16, [UInt8])
    }

    /// What the server does with a question.
    package enum Response: Sendable {
        case records([Record])
        /// NXDOMAIN is 3, SERVFAIL 2, REFUSED 5.
        case code(UInt8)
        /// A right answer under a wrong number.
        case forged([Record])
        /// Bytes that are no answer at all.
        case garbage
        case silence
    }

    private struct State {
        var zones: [String: Response] = [:]
        var questions: [String] = []
        var isStopped = false
    }

    package let port: UInt16
    private let socket: Int32
    private let state = Mutex(State())

    package init() throws {
        (socket, port) = try ServerSocket.atAnyPort(SOCK_DGRAM)
        try ServerSocket.serve(socket) { self.serve() }
    }

    /// Says what to do with questions for a name, all of them (`example.com`) or of a type (`MX example.com`).
    package func set(_ question: String, _ response: Response) { state.withLock { $0.zones[question] = response } }

    package func set(_ question: String, _ records: Record...) { set(question, .records(records)) }

    /// What was asked, such as `MX example.com`, in order.
    package var questions: [String] { state.withLock { $0.questions } }

    /// Ends the thread soon.
    package func stop() { state.withLock { $0.isStopped = true } }

    /// As libunbound wants it: `127.0.0.1@5353`.
    package var forwarder: String { "127.0.0.1@\(port)" }

    // MARK: - The thread

    private func serve() {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while !state.withLock({ $0.isStopped }) {
            var peer = sockaddr_in()
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let count = withUnsafeMutablePointer(to: &peer) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    recvfrom(socket, &buffer, buffer.count, 0, $0, &length)
                }
            }
            guard count > 0, let reply = reply(to: Array(buffer[..<count])) else { continue }
            _ = withUnsafeMutablePointer(to: &peer) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    sendto(socket, reply, reply.count, 0, $0, length)
                }
            }
        }
        close(socket)
    }

    private func reply(to query: [UInt8]) -> [UInt8]? {
        guard query.count > 17 else { return nil }
        var labels: [String] = []
        var index = 12
        while index < query.count, query[index] != 0 {
            let end = index + 1 + Int(query[index])
            guard end < query.count else { return nil }
            labels.append(String(decoding: query[(index + 1)..<end], as: UTF8.self).lowercased())
            index = end
        }
        guard index + 5 <= query.count else { return nil }
        let question = query[12..<(index + 5)]
        let types: [UInt8: String] = [1: "A", 15: "MX", 28: "AAAA"]
        let type = types[query[index + 2]] ?? "TYPE\(query[index + 2])"
        let name = labels.joined(separator: ".")
        let response = state.withLock { state in
            state.questions.append("\(type) \(name)")
            return state.zones["\(type) \(name)"] ?? state.zones[name] ?? .code(3)
        }
        var id = Array(query[..<2])
        switch response {
        case .silence:
            return nil
        case .garbage:
            return id + [0x81, 0x80, 0xFF, 0xFF, 0xFF, 0xFF]
        case .code(let code):
            return id + [0x81, 0x80 | code, 0, 1, 0, 0, 0, 0, 0, 0] + question
        case .forged(let records):
            id[1] ^= 1
            return id + Self.answer(records, question)
        case .records(let records):
            return id + Self.answer(records, question)
        }
    }

    private static func answer(_ records: [Record], _ question: ArraySlice<UInt8>) -> [UInt8] {
        let count = records.count
        var bytes: [UInt8] = [0x81, 0x80, 0, 1, UInt8(count >> 8 & 0xFF), UInt8(count & 0xFF), 0, 0, 0, 0] + question
        for record in records {
            let (type, data) = encode(record)
            // The name is the question's; records live for 300 seconds.
            bytes += [0xC0, 0x0C, UInt8(type >> 8), UInt8(type & 0xFF), 0, 1, 0, 0, 1, 0x2C]
            bytes += [UInt8(data.count >> 8 & 0xFF), UInt8(data.count & 0xFF)] + data
        }
        return bytes
    }

    private static func encode(_ record: Record) -> (type: UInt16, data: [UInt8]) {
        switch record {
        case .a(let text): (1, IPAddress(text)?.bytes ?? [])
        case .aaaa(let text): (28, IPAddress(text)?.bytes ?? [])
        case .mx(let preference, let host): (15, [UInt8(preference >> 8), UInt8(preference & 0xFF)] + wire(host))
        case .cname(let target): (5, wire(target))
        case .raw(let type, let data): (type, data)
        }
    }

    /// A name in wire form; `.` is the root.
    package static func wire(_ name: String) -> [UInt8] {
        name.split(separator: ".").flatMap { [UInt8(truncatingIfNeeded: $0.utf8.count)] + Array($0.utf8) } + [0]
    }
}

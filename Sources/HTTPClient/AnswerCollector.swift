// AnswerCollector.swift — gathers an answer while libcurl receives it, within bounds.

/// Used by the one thread that runs the transfer.
final class AnswerCollector {
    /// Of all header lines together, bytes.
    private static let mostHeaderBytes = 64 << 10

    private let limit: Int
    private var status = 0
    private var headers: [(name: String, value: String)] = []
    private var headerBytes = 0
    private var bytes: [UInt8] = []
    /// The answer was larger than it may be.
    private(set) var isTooLarge = false

    /// - Parameter limit: bytes of the body.
    init(limit: Int) { self.limit = limit }

    /// What a callback of libcurl does: any other count than the one given ends the transfer.
    static func receive(
        _ bytes: UnsafeMutablePointer<CChar>?,
        _ count: Int,
        _ context: UnsafeMutableRawPointer?,
        _ take: (AnswerCollector, UnsafeRawBufferPointer) -> Bool
    ) -> Int {
        guard let context else { return -1 }
        let collector = Unmanaged<AnswerCollector>.fromOpaque(context).takeUnretainedValue()
        guard take(collector, UnsafeRawBufferPointer(start: bytes, count: bytes == nil ? 0 : count)) else {
            collector.isTooLarge = true
            return -1
        }
        return count
    }

    /// - Returns: false when it is too much.
    func body(_ more: UnsafeRawBufferPointer) -> Bool {
        guard more.count <= limit - bytes.count else { return false }
        bytes.append(contentsOf: more)
        return true
    }

    /// One line of the head, its end included.
    ///
    /// - Returns: false when it is too much.
    func headerLine(_ line: UnsafeRawBufferPointer) -> Bool {
        headerBytes += line.count
        guard headerBytes <= Self.mostHeaderBytes else { return false }
        let text = String(decoding: line, as: UTF8.self)
        if text.utf8.starts(with: "HTTP/".utf8) {
            // An interim answer (1xx) may have come before this one.
            headers = []
            let words = text.utf8.split(separator: 0x20)
            status = words.count > 1 ? Int(Self.trimmed(Substring(words[1]))) ?? 0 : 0
        } else if let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")) {
            headers.append((Self.lowered(text.utf8[..<colon]), Self.trimmed(text[text.utf8.index(after: colon)...])))
        }
        return true
    }

    /// The name of a header field in lower case; fields are ASCII, and what is not stays as it is.
    static func lowered(_ name: some Sequence<UInt8>) -> String {
        String(decoding: name.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
    }

    private static func trimmed(_ text: Substring) -> String {
        var bytes = text.utf8[...]
        while let first = bytes.first, first <= 0x20 { bytes = bytes.dropFirst() }
        while let last = bytes.last, last <= 0x20 { bytes = bytes.dropLast() }
        return String(Substring(bytes))
    }

    /// - Throws: when the other side spoke something else.
    func response() throws(HTTPError) -> HTTPResponse {
        guard (100...599).contains(status) else { throw HTTPError(.broken, "the server's answer has no HTTP status") }
        return HTTPResponse(status: status, headers: headers, body: bytes)
    }
}

// AdminExchange.swift — one request on its connection's thread, from its header to the end of its answer.

import CMicrohttpd
import Mail

/// What is known of a request while it comes in.
///
/// Bound to the connection's thread: the library calls nobody else with it.
final class AdminExchange {
    let connection: UInt64
    let startedAt: Uptime
    let opening: Opening
    let path: String
    let method: String
    /// The request whose body comes, or why it is refused.
    private(set) var result: Result<OpenRequest, Problem>
    /// The connection ends behind the answer.
    private(set) var isLast: Bool
    /// Bytes of the body taken so far, and those thrown away.
    private var received = 0
    private var thrownAway = 0
    var status = 0

    /// - Parameter isLast: nothing more may be asked on this connection.
    init(_ opening: Opening, connection: UInt64, head: RequestHead, isLast: Bool, at now: Uptime) {
        self.opening = opening
        self.connection = connection
        path = head.path
        method = head.method
        startedAt = now
        result = opening.result
        self.isLast = isLast
        // After a head that could be read in two ways nothing on this connection can be trusted.
        if let problem, problem.kind == .malformed || problem.kind == .tooLarge { self.isLast = true }
    }

    /// Why the request is refused; nil: it is not, so far.
    var problem: Problem? {
        if case .failure(let problem) = result { problem } else { nil }
    }

    /// Takes a piece of the body.
    ///
    /// What is beyond a limit is thrown away, so that the client hears why.
    /// - Returns: false when so much is beyond that the connection should end.
    func take(_ bytes: UnsafeRawBufferPointer) -> Bool {
        received += bytes.count
        guard case .success(let open) = result else {
            thrownAway += bytes.count
            return thrownAway <= 4 << 20
        }
        if received > open.bodyLimit {
            refuse(AdminDesk.tooLarge(open.bodyLimit), open)
        } else if !open.request.content.append(bytes, limit: open.bodyLimit) {
            refuse(AdminDesk.noMemory(), open)
        }
        return true
    }

    private func refuse(_ problem: Problem, _ open: OpenRequest) {
        open.request.content.drop()
        result = .failure(problem)
        isLast = true
    }
}

/// Reading what the library knows of a request.
enum AdminHead {
    /// The fields of the header or of the query, every copy of each.
    static func fields(_ connection: OpaquePointer, _ kind: MHD_ValueKind) -> [HeaderField] {
        var fields: [HeaderField] = []
        withUnsafeMutablePointer(to: &fields) { list in
            _ = MHD_get_connection_values_n(
                connection,
                kind,
                { context, _, name, nameSize, value, valueSize in
                    let list = context?.assumingMemoryBound(to: [HeaderField].self)
                    list?.pointee.append(HeaderField(AdminHead.text(name, nameSize), AdminHead.text(value, valueSize)))
                    return .YES
                },
                list
            )
        }
        return fields
    }

    /// Bytes that are no UTF-8 become U+FFFD: no name and no value of ours has one.
    fileprivate static func text(_ start: UnsafePointer<CChar>?, _ count: Int) -> String {
        guard let start, count > 0 else { return "" }
        return String(decoding: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self)
    }
}

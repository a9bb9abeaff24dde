// ServerConnection.swift — PostgreSQL behind a small interface: statements, rows, COPY. The only importer of libpq.
//
// Guarantees: no call waits longer than its patience for a server that does not move; after that the connection counts as
// lost. Nothing of a session is relied on from one transaction to the next (no prepared names, no settings, no LISTEN), so
// that a pooler may stand in between. Only a server that can be written to is taken: a standby is passed over.

import CPQ
import Glibc

/// One connection to a server.
///
/// `@unchecked Sendable`: it may go from thread to thread, and is used by one at a time, since whoever shares it keeps it in a
/// `Mutex` or hands it over.
package final class ServerConnection: @unchecked Sendable {
    private let handle: OpaquePointer
    /// Milliseconds to wait for a server that does not move.
    package var patience: Int
    /// Whether it is over.
    package private(set) var isLost = false

    /// Connects.
    ///
    /// - Parameters:
    ///   - place: a connection string of libpq: a URI, or keys and values; what it says of TLS and passwords holds.
    ///   - patience: milliseconds.
    /// - Throws: ``ServerError``, always lost.
    package init(_ place: String, patience: Int = 10_000) throws(ServerError) {
        self.patience = patience
        let seconds = min(4, max(2, patience / 1_000))
        // Those before `dbname` are defaults that the connection string may change, those behind it hold.
        let words: [(String, String)] = [
            ("fallback_application_name", "martlet"), ("connect_timeout", "\(seconds)"), ("keepalives_idle", "5"),
            ("keepalives_interval", "2"), ("keepalives_count", "3"), ("tcp_user_timeout", "10000"),
            ("dbname", place), ("client_encoding", "UTF8"), ("target_session_attrs", "read-write"),
        ]
        let opened = Self.withStrings(words.map(\.0)) { keys in
            Self.withStrings(words.map(\.1)) { values in PQconnectdbParams(keys, values, 1) }
        }
        guard let opened else { throw ServerError(state: "", isLost: true, text: "no memory for a connection") }
        guard PQstatus(opened) == CONNECTION_OK else {
            let error = ServerError(state: "", isLost: true, text: String(cString: PQerrorMessage(opened)))
            PQfinish(opened)
            throw error
        }
        handle = opened
        PQsetnonblocking(handle, 1)
        // Notices are no news.
        PQsetNoticeProcessor(handle, { _, _ in }, nil)
    }

    deinit { PQfinish(handle) }

    /// What is wrong with a connection string; nil: nothing.
    package static func complaint(about place: String) -> String? {
        var message: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(place, &message) else {
            let text = message.map { String(cString: $0) }
            PQfreemem(message)
            return text ?? "is no connection string"
        }
        PQconninfoFree(options)
        return nil
    }

    /// The number of the server's process that this connection was given; behind a pooler it is none of the server's.
    package var backend: Int { Int(PQbackendPID(handle)) }

    /// The server's version, as 150018 for 15.18.
    package var version: Int { Int(PQserverVersion(handle)) }

    /// Runs statements one after the other, in one message: without a `BEGIN` among them they are one transaction.
    ///
    /// - Parameters:
    ///   - sql: numbers and our own words only; what comes from outside goes into values or COPY.
    ///   - fill: called for each `COPY … FROM STDIN` among them, in order, with its number; gives its bytes to ``put(_:)``.
    ///   - each: called with each statement's rows as they come, in text form.
    package func run(
        _ sql: String,
        fill: (Int) throws(ServerError) -> Void = { _ in },
        each: (ServerRows) -> Void = { _ in }
    ) throws(ServerError) {
        try begin(PQsendQuery(handle, sql))
        try collect(fill, each)
    }

    /// Runs one statement with values for its numbered parameters.
    @discardableResult
    package func rows(_ sql: String, _ values: [ServerValue] = []) throws(ServerError) -> ServerRows {
        let encoded = values.map(\.encoded)
        let types = values.map { Oid($0.type) }
        let lengths = encoded.map { Int32(clamping: $0?.count ?? 0) }
        let formats = [Int32](repeating: 1, count: values.count)
        // One after the other, so that each has an address.
        var all: [UInt8] = []
        for value in encoded { if let value { all += value } }
        all.append(0)
        let sent = all.withUnsafeBytes { raw in
            var place = 0
            var pointers: [UnsafePointer<CChar>?] = []
            for value in encoded {
                let start = raw.baseAddress?.advanced(by: place).assumingMemoryBound(to: CChar.self)
                pointers.append(value == nil ? nil : start)
                place += value?.count ?? 0
            }
            return PQsendQueryParams(handle, sql, Int32(values.count), types, pointers, lengths, formats, 1)
        }
        try begin(sent)
        var last: ServerRows?
        try collect({ _ in }) { last = $0 }
        guard let last else { throw ServerError(state: "", text: "no answer to \(sql.prefix(40))") }
        return last
    }

    // MARK: - Talking

    private func begin(_ isSent: Int32) throws(ServerError) {
        guard !isLost else { throw ServerError(state: "", isLost: true, text: "the connection is lost") }
        guard isSent == 1 else { throw lost() }
    }

    private func collect(
        _ fill: (Int) throws(ServerError) -> Void,
        _ each: (ServerRows) -> Void
    ) throws(ServerError) {
        var failure: ServerError?
        var next = 0
        while let result = try nextResult() {
            switch PQresultStatus(result) {
            case PGRES_TUPLES_OK: each(ServerRows(result))
            case PGRES_COPY_IN:
                PQclear(result)
                do throws(ServerError) {
                    next += 1
                    try fill(next - 1)
                    guard PQputCopyEnd(handle, nil) == 1 else { throw lost() }
                } catch {
                    if isLost { throw error }
                    failure = failure ?? error
                    guard PQputCopyEnd(handle, "given up") == 1 else { throw lost() }
                }
            case PGRES_COMMAND_OK, PGRES_EMPTY_QUERY: PQclear(result)
            default:
                failure = failure ?? Self.error(result)
                PQclear(result)
            }
        }
        guard PQstatus(handle) == CONNECTION_OK else {
            isLost = true
            throw ServerError(
                state: failure?.state ?? "",
                isLost: true,
                text: failure?.text ?? "the connection is lost"
            )
        }
        if let failure { throw failure }
    }

    /// The next result, awaited; nil at the end.
    private func nextResult() throws(ServerError) -> OpaquePointer? {
        try flush()
        while PQisBusy(handle) == 1 {
            try wait(Int16(POLLIN))
            guard PQconsumeInput(handle) == 1 else { throw lost() }
        }
        return PQgetResult(handle)
    }

    /// Sends bytes of the COPY that is being filled.
    package func put(_ bytes: [UInt8]) throws(ServerError) {
        while true {
            let code = bytes.withUnsafeBytes { raw in
                PQputCopyData(handle, raw.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(clamping: raw.count))
            }
            if code < 0 { throw lost() }
            try flush()
            if code == 1 { return }
        }
    }

    /// Sends what waits; takes what comes meanwhile, or two full buffers would wait for each other.
    private func flush() throws(ServerError) {
        while true {
            switch PQflush(handle) {
            case 0: return
            case 1:
                try wait(Int16(POLLIN | POLLOUT))
                guard PQconsumeInput(handle) == 1 else { throw lost() }
            default: throw lost()
            }
        }
    }

    private func wait(_ events: Int16) throws(ServerError) {
        var descriptor = pollfd(fd: PQsocket(handle), events: events, revents: 0)
        var left = patience
        while true {
            let start = Self.milliseconds
            switch poll(&descriptor, 1, Int32(clamping: max(0, left))) {
            case 1...: return
            case 0:
                isLost = true
                throw ServerError(state: "", isLost: true, text: "the server did not answer within \(patience) ms")
            default:
                guard errno == EINTR else { throw lost() }
                left -= Self.milliseconds - start
            }
        }
    }

    private static var milliseconds: Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }

    private func lost() -> ServerError {
        isLost = true
        return ServerError(state: "", isLost: true, text: String(cString: PQerrorMessage(handle)))
    }

    private static func error(_ result: OpaquePointer) -> ServerError {
        let state = PQresultErrorField(result, 0x43).map { String(cString: $0) } ?? ""  // PG_DIAG_SQLSTATE, 'C'
        let words = PQresultErrorField(result, 0x4D).map { String(cString: $0) }  // PG_DIAG_MESSAGE_PRIMARY, 'M'
        return ServerError(state: state, text: words ?? String(cString: PQresultErrorMessage(result)))
    }

    /// An array of strings as C has it, ended by no string.
    private static func withStrings<Value>(
        _ strings: [String],
        _ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> Value
    ) -> Value {
        let copies = strings.map { strdup($0) }
        defer { for copy in copies { free(copy) } }
        let pointers = copies.map { UnsafePointer($0) } + [nil]
        return pointers.withUnsafeBufferPointer { body($0.baseAddress) }
    }
}

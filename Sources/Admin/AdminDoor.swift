// AdminDoor.swift — one listener of the API: a libmicrohttpd daemon with a thread for each connection.
//
// Thread per connection, because only there may callbacks block, and because suspending connections starves others in
// 0.9.75. Callbacks come on the connections' threads; nothing here is shared between two of them but locked values.

import CMicrohttpd
import Config
import Files
import Glibc
import Log
import Mail
import Synchronization

/// A listener with its connections.
// Sendable: the daemon's pointer and the texts are set while it is made, and cleared by `stop`, which one thread calls.
final class AdminDoor: @unchecked Sendable {
    /// Bytes for header and buffers of a connection; a larger header gets 431.
    private static let connectionMemory = 64 << 10

    let desk: AdminDesk
    let connections: AdminConnections
    private let kind: Kind
    private let observe: AdminServer.Observer
    private var daemon: OpaquePointer?
    private var certificates: [UnsafeMutablePointer<CChar>] = []
    /// Where connections begin with a PROXY header; nil: the library accepts them.
    private var gate: ProxyGate?
    /// When somebody was last said to be turned away, milliseconds; 0: never.
    private let toldAt = Mutex<Int64>(0)

    enum Kind: Hashable, Sendable {
        case unix
        case tcp(isLoopback: Bool)
    }

    /// - Parameters:
    ///   - balancers: whose connections begin with a PROXY header, and nobody else gets in; nil: anybody's, without one.
    ///   - tls: certificate and key in PEM.
    init(
        _ socket: AdminSocket,
        _ kind: Kind,
        desk: AdminDesk,
        settings: AdminSettings,
        balancers: [IPNetwork]? = nil,
        tls: (certificate: [UInt8], key: [UInt8])?,
        observe: AdminServer.Observer
    ) throws(ListenFailure) {
        self.kind = kind
        self.desk = desk
        self.observe = observe
        connections = AdminConnections(
            limit: settings.connections,
            perClient: settings.connectionsPerClient,
            timeout: settings.timeout
        )
        var options = relay_daemon_options()
        options.listen_socket = balancers == nil ? socket.descriptor : -1
        options.connection_limit = UInt32(clamping: connections.most)
        options.timeout = UInt32(clamping: settings.timeout)
        options.memory = Self.connectionMemory
        if let tls {
            for text in [tls.certificate, tls.key] {
                guard let copy = strdup(String(decoding: text, as: UTF8.self)) else { continue }
                certificates.append(copy)
            }
            options.certificate = UnsafePointer(certificates.first)
            options.key = UnsafePointer(certificates.last)
        }
        options.context = Unmanaged.passUnretained(self).toOpaque()
        options.accept = adminAccept
        options.handle = adminHandle
        options.completed = adminCompleted
        options.connection = adminConnection
        daemon = relay_start_daemon(&options)
        guard daemon != nil else {
            Glibc.close(socket.descriptor)
            throw ListenFailure(
                description:
                    "libmicrohttpd does not start\(tls == nil ? "" : "; are certificate and key of admin.ini a pair in PEM?")",
                isTaken: false
            )
        }
        guard let balancers else { return }
        gate = ProxyGate(socket.descriptor, balancers) { [self] balancer, reason in
            turnedAway(balancer, reason)
        } take: { [self] socket, client, port in
            guard let daemon else { return _ = Glibc.close(socket) }
            _ = client.withSocketAddress(port: port) { MHD_add_connection(daemon, socket, $0, $1) }
        }
        guard gate != nil else {
            stop()
            Glibc.close(socket.descriptor)
            throw ListenFailure(description: "there is no thread for the listener of balancers", isTaken: false)
        }
    }

    /// Says who was turned away, so often that it is seen and no more.
    private func turnedAway(_ balancer: IPAddress?, _ reason: String) {
        let now = Uptime.now().milliseconds
        let isDue = toldAt.withLock { toldAt in
            guard toldAt == 0 || now - toldAt >= 10_000 else { return false }
            toldAt = now
            return true
        }
        guard isDue else { return }
        desk.services.log.write(.warning, "connection to the API turned away") { line in
            if let balancer { line.add(.client, "\(balancer)") }
            line.add(.reason, reason)
        }
    }

    /// No new connections; those that are open hear 503.
    func close() {
        connections.close()
        desk.services.live.close()
    }

    /// Ends every connection and waits for their threads.
    func stop() {
        gate?.stop()
        gate = nil
        guard let daemon else { return }
        self.daemon = nil
        MHD_stop_daemon(daemon)
        for text in certificates { free(text) }
        certificates = []
    }

    // MARK: - A request, on its connection's thread

    fileprivate func begin(_ head: RequestHead, _ connection: OpaquePointer, _ number: UInt64) -> AdminExchange {
        let client = relay_client_address(connection).flatMap { IPAddress($0) }
        let door: TokenGuard.Approach =
            switch kind {
            case .unix: .unix
            case .tcp(let isLoopback): .tcp(client: client, isLoopback: isLoopback)
            }
        let now = Uptime.now()
        let place = connections.place(of: number)
        connections.enters(.reading, number, at: now)
        let opening = desk.open(head, by: door, at: place, now: now, wall: .now())
        return AdminExchange(opening, connection: number, head: head, isLast: place != .seat, at: now)
    }

    /// Answers, when everything has come or nothing more should.
    ///
    /// - Parameter isEarly: the body, if there is one, was not read, so the connection must end.
    fileprivate func answer(_ exchange: AdminExchange, _ connection: OpaquePointer, isEarly: Bool) -> MHD_Result {
        let response: AdminResponse
        switch exchange.result {
        case .failure where exchange.opening.preflight != nil:
            response = exchange.opening.preflight ?? AdminResponse(204)
        case .failure(let problem):
            response = desk.refuse(problem, exchange.opening.id, exchange.path)
        case .success(let open):
            connections.enters(.working, exchange.connection, at: .now())
            response = desk.answer(open)
        }
        if case .stream(let stream) = response.body, stream.isEndless {
            guard connections.follows(exchange.connection, at: .now()) else {
                return answer(Self.tooMany, exchange, connection, closes: isEarly || exchange.isLast)
            }
            relay_keep_connection(connection)
            return answer(response, exchange, connection, closes: true)
        }
        connections.enters(.writing, exchange.connection, at: .now())
        return answer(response, exchange, connection, closes: isEarly || exchange.isLast)
    }

    private static let tooMany = Problem(
        .unavailable,
        "too many follow events already",
        headers: [HeaderField("Retry-After", "30")]
    )

    private func answer(
        _ problem: Problem,
        _ exchange: AdminExchange,
        _ connection: OpaquePointer,
        closes: Bool
    ) -> MHD_Result {
        connections.enters(.writing, exchange.connection, at: .now())
        let response = desk.refuse(problem, exchange.opening.id, exchange.path)
        return answer(response, exchange, connection, closes: closes)
    }

    private func answer(
        _ response: AdminResponse,
        _ exchange: AdminExchange,
        _ connection: OpaquePointer,
        closes: Bool
    ) -> MHD_Result {
        exchange.status = response.status
        return send(response, exchange, connection, closes: closes)
    }

    private func send(
        _ response: AdminResponse,
        _ exchange: AdminExchange,
        _ connection: OpaquePointer,
        closes: Bool
    ) -> MHD_Result {
        guard let raw = make(response, exchange.connection) else { return .NO }
        defer { MHD_destroy_response(raw) }
        MHD_add_response_header(raw, "X-Request-Id", exchange.opening.id)
        MHD_add_response_header(raw, "X-Content-Type-Options", "nosniff")
        if !response.headers.contains(where: { $0.name == "Cache-Control" }) {
            MHD_add_response_header(raw, "Cache-Control", "no-store")
        }
        for field in response.headers + exchange.opening.headers {
            MHD_add_response_header(raw, field.name, field.value)
        }
        if closes { MHD_add_response_header(raw, "Connection", "close") }
        return MHD_queue_response(connection, UInt32(response.status), raw)
    }

    private func make(_ response: AdminResponse, _ connection: UInt64) -> OpaquePointer? {
        switch response.body {
        case .none:
            return MHD_create_response_from_buffer(0, nil, .RESPMEM_PERSISTENT)
        case .bytes(let bytes):
            var bytes = bytes
            return bytes.withUnsafeMutableBytes {
                MHD_create_response_from_buffer($0.count, $0.baseAddress, .RESPMEM_MUST_COPY)
            }
        case .stream(let stream):
            let state = StreamState(stream) { [connections] in
                connections.isGone(connection)
            } progress: { [connections] in
                connections.goesOn(connection, at: .now())
            }
            let context = Unmanaged.passRetained(state)
            let made = MHD_create_response_from_callback(
                stream.size.map { UInt64(clamping: $0) } ?? relay_unknown_size(),
                StreamState.piece,
                streamRead,
                context.toOpaque(),
                streamFree
            )
            if made == nil { context.release() }
            return made
        }
    }

    fileprivate func completed(_ exchange: AdminExchange) {
        let now = Uptime.now()
        connections.enters(.waiting, exchange.connection, at: now)
        observe.call(
            AdminServer.Observation(
                operation: exchange.opening.operation,
                method: exchange.method,
                status: exchange.status,
                milliseconds: now.milliseconds - exchange.startedAt.milliseconds
            )
        )
    }
}

// MARK: - Callbacks of the library

private func door(_ context: UnsafeMutableRawPointer?) -> AdminDoor? {
    context.map { Unmanaged<AdminDoor>.fromOpaque($0).takeUnretainedValue() }
}

private let adminHandle: MHD_AccessHandlerCallback = {
    context,
    connection,
    path,
    method,
    version,
    upload,
    size,
    state in
    guard let door = door(context), let connection, let path, let method, let version, let size, let state else {
        return .NO
    }
    guard let known = state.pointee, relay_is_noted(known) == 0 else {
        let head = RequestHead(
            method: String(cString: method),
            path: String(cString: path),
            isCut: relay_line_is_cut(method, path, version, state.pointee) != 0
                || relay_header_is_cut(connection, version) != 0,
            query: AdminHead.fields(connection, .GET_ARGUMENT_KIND),
            fields: AdminHead.fields(connection, .HEADER_KIND)
        )
        let exchange = door.begin(head, connection, adminNumber(connection))
        state.pointee = Unmanaged.passRetained(exchange).toOpaque()
        // Without a body the library calls again at once, and the connection may live on.
        guard exchange.problem != nil, exchange.opening.hasBody else { return .YES }
        return door.answer(exchange, connection, isEarly: true)
    }
    let exchange = Unmanaged<AdminExchange>.fromOpaque(known).takeUnretainedValue()
    guard exchange.status == 0 else { return .YES }
    if size.pointee > 0 {
        let count = size.pointee
        size.pointee = 0
        door.connections.extend(exchange.connection, bytes: count)
        return exchange.take(UnsafeRawBufferPointer(start: upload, count: count)) ? .YES : .NO
    }
    return door.answer(exchange, connection, isEarly: false)
}

private let adminAccept: MHD_AcceptPolicyCallback = { context, address, _ in
    guard let door = door(context) else { return .NO }
    return door.connections.admits(address.flatMap { IPAddress($0) }) ? .YES : .NO
}

private let adminCompleted: MHD_RequestCompletedCallback = { context, _, state, _ in
    guard let known = state?.pointee, relay_is_noted(known) == 0 else { return }
    state?.pointee = nil
    let exchange = Unmanaged<AdminExchange>.fromOpaque(known).takeRetainedValue()
    door(context)?.completed(exchange)
}

private let adminConnection: MHD_NotifyConnectionCallback = { context, connection, state, event in
    guard let door = door(context), let connection, let state else { return }
    if event == .CONNECTION_NOTIFY_STARTED {
        let client = relay_client_address(connection).flatMap { IPAddress($0) }
        let socket = relay_connection_socket(connection)
        relay_mark_thread(socket)
        let number = door.connections.opened(socket, from: client, at: .now())
        state.pointee = UnsafeMutableRawPointer(bitPattern: UInt(number))
    } else {
        door.connections.closed(UInt64(UInt(bitPattern: state.pointee)))
        state.pointee = nil
    }
}

/// The number under which a connection is known to us: its socket's context.
private func adminNumber(_ connection: OpaquePointer) -> UInt64 {
    UInt64(UInt(bitPattern: relay_connection_context(connection)))
}

/// A body that is made while it is sent.
///
/// Bound to the connection's thread.
private final class StreamState {
    /// Bytes asked for at once.
    static let piece = 32 << 10

    private let next: AdminStream.Next
    private let isEndless: Bool
    /// What was made is taken: the client is there.
    private let progress: () -> Void
    private var rest: ArraySlice<UInt8> = []

    init(_ stream: AdminStream, isGone: @escaping () -> Bool, progress: @escaping () -> Void) {
        next = stream.begin(isGone)
        isEndless = stream.isEndless
        self.progress = progress
    }

    /// Fills the buffer as far as it goes.
    ///
    /// - Returns: bytes; 0 at the end.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws(AdminStream.Break) -> Int {
        if isEndless { progress() }
        while rest.isEmpty {
            guard let bytes = try next() else { return 0 }
            rest = bytes[...]
        }
        let count = min(rest.count, buffer.count)
        rest.prefix(count).withUnsafeBytes { buffer.copyMemory(from: $0) }
        rest = rest.dropFirst(count)
        return count
    }
}

private let streamRead: MHD_ContentReaderCallback = { context, _, buffer, count in
    guard let context, let buffer else { return -2 }
    let state = Unmanaged<StreamState>.fromOpaque(context).takeUnretainedValue()
    do throws(AdminStream.Break) {
        let got = try state.read(into: UnsafeMutableRawBufferPointer(start: buffer, count: count))
        return got == 0 ? -1 : got
    } catch {
        return -2
    }
}

private let streamFree: MHD_ContentReaderFreeCallback = { context in
    if let context { Unmanaged<StreamState>.fromOpaque(context).release() }
}

// ListenerSettings.swift — `smtp.ini`, typed: where we listen and what a client may ask of us.

package import Mail

/// A place to listen: `host:port` or `[v6]:port`.
package struct ListenAddress: Hashable, Sendable, CustomStringConvertible {
    package let ip: IPAddress
    package let port: UInt16

    package init(ip: IPAddress, port: UInt16) {
        self.ip = ip
        self.port = port
    }

    package var description: String { "\(ip.bracketed):\(port)" }

    /// Whether a socket here takes IPv6 alone.
    ///
    /// `[::]` takes IPv4 too, as people know it, unless that has a place of its own at this port: `0.0.0.0:25, [::]:25`.
    /// - Parameter places: everything that is listened to, this place included.
    package func isV6Only(among places: some Sequence<ListenAddress>) -> Bool {
        guard ip.isV6 else { return false }
        return !ip.isUnspecified || places.contains { !$0.ip.isV6 && $0.port == port }
    }

    /// Whether a connection came in here.
    ///
    /// - Parameters:
    ///   - here: our end of the connection.
    ///   - places: everything that is listened to, this place included.
    package func takes(_ here: ListenAddress, among places: some Sequence<ListenAddress>) -> Bool {
        guard port == here.port else { return false }
        if ip == here.ip { return true }
        guard ip.isUnspecified else { return false }
        return ip.isV6 ? here.ip.isV6 || !isV6Only(among: places) : !here.ip.isV6
    }
}

/// `smtp.ini`.
///
/// Each field names its key; the initial value is the documented default.
package struct ListenerSettings: Hashable, Sendable {
    /// `[main] listen`; empty: no mail comes in by SMTP.
    package var listen = [IPAddress("127.0.0.1").map { ListenAddress(ip: $0, port: 2525) }].compactMap(\.self)
    /// `[main] smtps_listen`: where the session begins with a TLS handshake; needs the certificate of `tls.ini`.
    package var smtpsListen: [ListenAddress] = []
    /// Both.
    package var everywhere: [ListenAddress] { plainPlaces + securePlaces }
    /// The sections `[listener NAME]`, in the order of the file.
    package var sections: [ListenerSection] = []
    /// Every place where sessions begin in the clear.
    package var plainPlaces: [ListenAddress] { listen + sections.flatMap(\.listen) }
    /// Every place where sessions begin with a TLS handshake.
    package var securePlaces: [ListenAddress] { smtpsListen + sections.flatMap(\.smtpsListen) }
    /// `[main] allowed_sender_domains`: envelope senders must be of one of these; empty: any.
    package var allowedSenderDomains: Set<Domain> = []
    /// `[main] proxy`: listeners where each connection begins with a balancer's PROXY header.
    package var proxy: [ListenAddress] = []
    /// `[main] proxy_networks`: the balancers; nobody else gets in at these listeners.
    package var proxyNetworks: [IPNetwork] = []
    /// `[main] xclient_networks`: clients that may say XCLIENT.
    package var xclientNetworks: [IPNetwork] = []
    /// `[main] xforward_networks`: clients that may say XFORWARD.
    package var xforwardNetworks: [IPNetwork] = []
    /// `[main] lenient`: whose mistakes are put right instead of refused.
    package var lenient = ClientChoice()
    /// `[main] local_sender`: what senders of this machine send as; nil: as themselves.
    package var localSender: EmailAddress?
    /// `[main] drop`: `sendmail` may leave mail in the data directory while the relay is down.
    package var drop = true
    /// `[main] user`: who root becomes once the sockets are bound; nil: nobody.
    package var user: String?
    /// `[main] group`; nil: the user's own.
    package var group: String?
    /// `[main] threads`: event loops; 0 chooses by the number of processors.
    package var threads = 0
    /// `[main] memory_for_mail`, bytes: bodies held in memory, drafts and young messages together.
    package var memoryForMail = 64 << 20

    /// `[limits] message_bytes`: largest message, announced as SIZE.
    package var messageBytes = 26_214_400
    /// `[limits] in_memory_bytes`: a body that grows beyond this is written to a file while it is received.
    package var inMemoryBytes = 1 << 20
    /// `[limits] header_bytes`: largest header block.
    package var headerBytes = 256 << 10
    /// `[limits] command_bytes`: longest command line, CRLF included.
    package var commandBytes = 4096
    /// `[limits] recipients` per transaction; more get 452 4.5.3.
    package var recipients = 1000
    /// `[limits] received_headers`: more is a loop, 554 5.4.6.
    package var receivedHeaders = 100
    /// `[limits] errors` per session before 421.
    package var errors = 20
    /// `[limits] idle_commands`: NOOP, RSET, VRFY, HELP and the like between two messages before 421.
    package var idleCommands = 1000
    /// `[limits] connections` at once, in total.
    package var connections = 2000
    /// `[limits] connections_per_client` at once, from one address.
    package var connectionsPerClient = 1000

    /// `[timeouts] command`, seconds: silence while a command is awaited (RFC 5321 §4.5.3.2.7: 5 minutes).
    package var commandTimeout = 300
    /// `[timeouts] command_deadline`, seconds: from the first octet of a command line to its end.
    package var commandDeadline = 300
    /// `[timeouts] data`, seconds: silence between two blocks of a message (RFC 5321 §4.5.3.2.5: 3 minutes).
    package var dataTimeout = 180
    /// `[timeouts] data_deadline`, seconds: from 354 to the final dot.
    package var dataDeadline = 3600
    /// `[timeouts] tls`, seconds: a TLS handshake.
    package var tlsTimeout = 60
    /// `[timeouts] session`, seconds: a whole connection.
    package var sessionDeadline = 86_400
    /// `[timeouts] commit`, seconds: how long a message may wait for the disk before 451.
    package var commitTimeout = 120
    /// `[timeouts] banner_delay`, milliseconds before the banner in which an early talker is caught; 0 only looks
    /// whether something has arrived already.
    package var bannerDelay = 0

    package init() {}

    /// Whether a client is one of those that may tell of others.
    ///
    /// - Parameter client: nil when its address could not be told, which allows nothing.
    package func mayTell(_ client: IPAddress?, _ networks: KeyPath<ListenerSettings, [IPNetwork]>) -> Bool {
        guard let client else { return false }
        return self[keyPath: networks].contains { $0.contains(client) }
    }

    /// Whether connections here begin with a PROXY header.
    package func expectsProxy(at here: ListenAddress?) -> Bool {
        guard !proxy.isEmpty else { return false }
        var places = ClientChoice()
        places.places = proxy
        return places.includes(nil, at: here, among: everywhere)
    }
}

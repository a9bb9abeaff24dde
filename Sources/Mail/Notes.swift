// Notes.swift — what was noted about a message when it came in, and travels with it: Haraka's transaction notes.

/// Notes on an envelope; stored with the message, so that they outlive a restart.
package struct Notes: Hashable, Sendable {
    /// `outbound_ip`: the address to deliver from; a `bind` of the MX still wins.
    package var outboundIP: IPAddress?
    /// `outbound_helo`: the name to say in EHLO with it.
    package var outboundHelo: Domain?
    /// `force_tls`: deliver encrypted or not at all.
    package var forceTLS: Bool
    /// The client that handed the message in; nil for mail made inside.
    package var client: IPAddress?
    /// Who handed it in without a session of SMTP, `token:NAME`; nil: nobody that has a name.
    package var caller: String?
    /// What the header says of its kind, by the field that `tag_header` names; limits and pauses may be about it.
    package var tag: String?
    /// What plugins noted for themselves; see ``mostBytes``.
    package var values: [String: String]

    /// The ``caller`` of our own reports on TLS, which arrive although TLS is broken (RFC 8460 §3).
    package static let tlsReporter = "tlsrpt"

    /// Bytes of all names and values together that a message may carry.
    package static let mostBytes = 8192

    package init(
        outboundIP: IPAddress? = nil,
        outboundHelo: Domain? = nil,
        forceTLS: Bool = false,
        client: IPAddress? = nil,
        caller: String? = nil,
        tag: String? = nil,
        values: [String: String] = [:]
    ) {
        self.outboundIP = outboundIP
        self.outboundHelo = outboundHelo
        self.forceTLS = forceTLS
        self.client = client
        self.caller = caller
        self.tag = tag
        self.values = values
    }

    package var isEmpty: Bool {
        outboundIP == nil && outboundHelo == nil && !forceTLS && client == nil && caller == nil && tag == nil
            && values.isEmpty
    }

    /// False when plugins noted more than a message may carry.
    package var isWithinBounds: Bool {
        values.isEmpty || values.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count } <= Self.mostBytes
    }

    /// What the notes ask for as the place to leave from; nil: nothing.
    package var source: Source? {
        outboundIP == nil && outboundHelo == nil ? nil : Source([outboundIP].compactMap(\.self), helo: outboundHelo)
    }
}

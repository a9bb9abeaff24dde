// Event.swift — one fact, as those who read events see it: a value without storage, clocks or formats.

package import Mail

/// A fact of a message's life, or of the relay's.
///
/// Derived from what the queue has made durable, so it can be late but is never lost.
package struct Event: Hashable, Sendable, Identifiable {
    /// Its number: from 1 on, rising by one in the order of the log; the same after every crash.
    package var seq: UInt64
    /// The history it stands in, random and made with the database.
    ///
    /// Numbers of another history mean nothing in this one.
    package var epoch: String
    package var type: EventType
    /// When it happened.
    package var time: Timestamp
    /// Name of the relay.
    package var node: String
    package var data: EventData

    package init(
        seq: UInt64,
        epoch: String,
        type: EventType,
        time: Timestamp,
        node: String,
        data: EventData = EventData()
    ) {
        self.seq = seq
        self.epoch = epoch
        self.type = type
        self.time = time
        self.node = node
        self.data = data
    }

    /// Names it for ever, whoever sends it how often: `evt_<epoch>_<seq>`.
    package var id: String { "evt_\(epoch)_\(seq)" }
}

/// What is known of an event; what does not apply, or is not known, is nil.
package struct EventData: Hashable, Sendable {
    /// A host that mail was offered to.
    package struct Host: Hashable, Sendable {
        package var host: String
        package var ip: IPAddress?
        package var port: UInt16?

        package init(host: String, ip: IPAddress? = nil, port: UInt16? = nil) {
            self.host = host
            self.ip = ip
            self.port = port
        }

        /// Takes `host[ip]:port` apart; anything else is the host.
        package init(remote: String) {
            let bytes = Array(remote.utf8)
            guard let open = bytes.firstIndex(of: UInt8(ascii: "[")), open > 0,
                let close = bytes.lastIndex(of: UInt8(ascii: "]")), open < close
            else {
                self.init(host: remote)
                return
            }
            let rest = bytes[(close + 1)...]
            self.init(
                host: String(decoding: bytes[..<open], as: UTF8.self),
                ip: IPAddress(String(decoding: bytes[(open + 1)..<close], as: UTF8.self)),
                port: rest.first == UInt8(ascii: ":") ? UInt16(String(decoding: rest.dropFirst(), as: UTF8.self)) : nil
            )
        }
    }

    /// What the next hop said, or what we made up for a failure of our own.
    package struct Words: Hashable, Sendable {
        package var code: UInt16
        package var enhanced: EnhancedStatus?
        /// Printable, 512 bytes at most.
        package var text: String
        /// How far the attempt had come, such as `connect` or `endOfData`.
        package var stage: String?

        package init(code: UInt16, enhanced: EnhancedStatus? = nil, text: String, stage: String? = nil) {
            self.code = code
            self.enhanced = enhanced
            self.text = text
            self.stage = stage
        }
    }

    // The message.
    package var message: QueueID?
    /// Of the header field `Message-ID`, with its angle brackets.
    package var headerMessageID: String?
    /// `<>` is the null sender.
    package var sender: String?
    /// Of an event about one recipient.
    package var recipient: String?
    /// Of `message.accepted`: how many.
    package var recipientCount: Int?
    /// Value of the header field that `tag_header` names.
    package var tag: String?
    /// Who logged in to hand it in.
    package var user: String?
    /// Who handed it in.
    package var client: IPAddress?
    /// Bytes.
    package var size: Int?
    // The way out.
    /// A section of `routes.ini`, or a domain.
    package var route: String?
    /// The next hop with all that sets it apart from others.
    package var lane: String?
    package var mx: Host?
    package var source: IPAddress?
    /// How the connection was protected; nil for plaintext, and where nobody was reached.
    package var tls: ChannelSecurity?
    // What came of it.
    package var smtp: Words?
    /// Of a failure: one word of a closed list.
    package var reason: FailureReason?
    /// From 1 on.
    package var attempt: Int?
    package var nextAttempt: Timestamp?
    /// Milliseconds since the message was accepted.
    package var age: Int64?
    /// Milliseconds that parts of the attempt took: `queued`, `session`.
    package var stages: [Stage] = []
    /// The peer may have the message, although we count it as failed.
    package var mayBeDuplicate = false
    // Commands and settings.
    /// Who: a token's name, `socket`, or nil for the relay itself.
    package var actor: String?
    /// What: a route, a file, an endpoint, a report's kind.
    package var subject: String?
    /// In words.
    package var text: String?
    package var until: Timestamp?
    /// How many are meant.
    package var count: Int?

    /// A part of an attempt and its milliseconds.
    package struct Stage: Hashable, Sendable {
        package var name: String
        package var milliseconds: Int64

        package init(_ name: String, _ milliseconds: Int64) {
            self.name = name
            self.milliseconds = milliseconds
        }
    }

    package init() {}
}

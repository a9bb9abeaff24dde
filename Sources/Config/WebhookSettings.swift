// WebhookSettings.swift — the sections `[webhook NAME]` of `events.ini`, typed: who hears of events over HTTP, of which,
// and in what words.

package import Mail

/// Receivers of events.
package struct WebhookSettings: Hashable, Sendable {
    /// The words in which events are told.
    package enum Format: String, Hashable, Sendable, CaseIterable {
        /// Our own body, signed as Standard Webhooks are.
        case standard
        /// The bodies that consumers of other services take.
        case sendgrid, ses, postmark

        /// Several events may stand in one body.
        package var takesBatches: Bool { self == .standard || self == .sendgrid }
    }

    /// A key for signatures: what stands behind `whsec_`, decoded.
    package struct Key: Hashable, Sendable {
        /// Octets of a key, fewest and most.
        package static let sizes = 24...64

        /// As it is written.
        package let text: Secret

        /// - Returns: nil unless it is `whsec_` and base64 of 24 to 64 octets.
        package init?(_ text: String) {
            guard let encoded = text.rest(behind: "whsec_"), let octets = Base64.decode(Array(encoded.utf8)),
                Self.sizes.contains(octets.count)
            else { return nil }
            self.text = Secret(text)
        }

        /// A key of these octets.
        package init(octets: [UInt8]) { text = Secret("whsec_\(Base64.encode(octets))") }

        /// The octets to sign with.
        package var octets: [UInt8] {
            text.revealed.rest(behind: "whsec_").flatMap { Base64.decode(Array($0.utf8)) } ?? []
        }
    }

    /// One receiver.
    package struct Endpoint: Hashable, Sendable {
        /// The section's name behind `webhook`.
        package let name: String
        /// `url`: where events are posted.
        package var url = ""
        /// `enabled`: false keeps its place and sends nothing.
        package var isEnabled = true
        /// `secret`, and `secret_previous` while receivers change over.
        package var keys: [Key] = []
        /// `types`: `delivery.bounced`, `delivery.*`; empty: all.
        package var types: [String] = []
        /// `routes`, `tags`, `sender_domains`: one of each list must fit where it is not empty.
        package var routes: [String] = []
        package var tags: [String] = []
        package var senderDomains: [String] = []
        /// `format`.
        package var format = Format.standard
        /// `batch`: events in one body at most.
        package var batch = 1
        /// `concurrency`: requests at once.
        package var concurrency = 1
        /// `ordered`: nothing goes past an event that was not taken.
        package var isOrdered = false
        /// `allow_private`: addresses that the world cannot see, and `http://` to them.
        package var allowsPrivate = false
        /// `timeout`: seconds for one request.
        package var timeout = 15
        /// `retry_first` and `retry_max`: seconds to the second try, and at most between two.
        package var retryFirst = 5
        package var retryMax = 21_600

        package init(name: String) { self.name = name }

        /// Events in one body.
        package var size: Int { format.takesBatches ? batch : 1 }
    }

    /// In the order of the file.
    package var endpoints: [Endpoint] = []

    package init() {}
}

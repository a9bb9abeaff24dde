// OutboundSettings.swift — `outbound.ini`, typed: how mail leaves.

package import Mail

/// `outbound.ini`.
///
/// Each field names its key; the initial value is the documented default.
package struct OutboundSettings: Hashable, Sendable {
    /// `disabled`: accept and queue, do not deliver.
    package var isDisabled = false
    /// `enable_tls`: STARTTLS where the peer offers it, DANE and MTA-STS where they demand it.
    package var isTLSEnabled = false
    /// `tls_ca_file`: PEM of the authorities that next hops are verified with; nil: the system's.
    package var tlsCAFile: String?
    /// `client_certificate`: the certificate of `tls.ini` is shown to next hops that ask for one.
    package var showsCertificate = true
    /// `tls_fallback_after`, seconds that TLS with a server must have been failing before the clear is an answer to it.
    package var tlsFallbackAfter = 5
    /// `tls_report_contact`: who answers for reports on TLS, and their sender; nil: none are sent (RFC 8460).
    package var tlsReportContact: EmailAddress?
    /// `tls_report_organization`: whose reports they are; empty: `me`.
    package var tlsReportOrganization = ""
    /// `disabled_reason`: why, for people; at most 200 bytes.
    package var disabledReason = ""
    /// `concurrency_max`: sessions to all next hops together.
    package var concurrencyMax = 100
    /// `concurrency_per_lane`: sessions to one next hop.
    package var concurrencyPerLane = 20
    /// `always_split`: one parcel per recipient.
    package var alwaysSplit = false
    /// `maxTempFailures`: the failure that bounces; nil where the file does not say it.
    package var maxTempFailures: Int?
    /// `temp_fail_intervals`, seconds, expanded; nil: 2^(n+5) seconds.
    package var tempFailIntervals: [Int]?
    /// `unreachable_counts`: an attempt that does not reach the next hop is a failure like any other.
    package var isUnreachableCounted = false
    /// `unreachable_max_age`, seconds: mail that is older bounces when its next hop still cannot be reached; nil where the
    /// file does not say it.
    package var unreachableMaxAge: Int?
    /// `queue_lifetime`, seconds: mail that is older bounces with its next failure; nil: the number of failures decides.
    package var queueLifetime: Int?
    /// `oauth_idle_days`: days that a refresh token lives without being used, 0 for ever; nil: what is known of its provider.
    package var oauthIdleDays: Int?
    /// `local_mx_ok`: delivery to addresses of this machine found through the DNS.
    package var localMXOK = false
    /// `ipv6_enabled`: AAAA first for each MX, the switch of the source document; without it A comes first.
    package var isIPv6Enabled = false
    /// `inet_prefer`: which family is tried first; it counts more than `ipv6_enabled`.
    package var inetPrefer = AddressPreference.any
    /// `received_header`: the text of our `Received` line's comment; nil (`disabled`) leaves the line out on delivery.
    package var receivedHeader: String? = "Martlet outbound"
    /// `recipients_per_transaction`: more are split over several.
    package var recipientsPerTransaction = 100
    /// `bare_lf_replies`: a next hop may end its lines in LF without CR.
    package var takesBareLF = true
    /// `messages_per_session` before QUIT.
    package var messagesPerSession = 1000
    /// `pool_timeout`, seconds: an idle session is closed.
    package var idleTimeout = 50
    /// `lane_rest_max`, seconds: longest rest of a next hop that could not be reached.
    package var laneRestMax = 60
    /// `bounce_message_bytes`: a longer original comes back in a failure report as its header alone.
    package var bounceMessageBytes = 64 << 20
    /// `bounce_grace`, seconds that a bounce by a person or a reaction can be taken back; 0: it is done at once.
    package var bounceGrace = 0
    /// `postmaster`: who hears of a report that reached nobody; nil: the log and the metrics alone.
    package var postmaster: EmailAddress?
    /// `long_lines`: what becomes of lines over 998 octets.
    package var longLines = LongLines.keep
    /// `delay_warning`, seconds after which NOTIFY=DELAY gets its report.
    package var delayWarning = 14_400

    /// `opening_timeout`, seconds: a session is to stand, over all hosts and addresses of a lane.
    package var openingTimeout = 300
    /// `connect_timeout`, seconds.
    package var connectTimeout = 30
    /// `greeting_timeout`, seconds (RFC 5321 §4.5.3.2.1).
    package var greetingTimeout = 300
    /// `helo_timeout`, seconds.
    package var heloTimeout = 300
    /// `tls_timeout`, seconds: the reply to STARTTLS, and the handshake.
    package var tlsTimeout = 120
    /// `mail_timeout`, seconds (§4.5.3.2.2).
    package var mailTimeout = 300
    /// `rcpt_timeout`, seconds (§4.5.3.2.3).
    package var rcptTimeout = 300
    /// `data_init_timeout`, seconds: the reply to DATA (§4.5.3.2.4).
    package var dataInitTimeout = 120
    /// `data_block_timeout`, seconds: no progress while sending (§4.5.3.2.5).
    package var dataBlockTimeout = 180
    /// `data_done_timeout`, seconds: the reply to the final dot (§4.5.3.2.6).
    package var dataDoneTimeout = 600
    /// `quit_timeout`, seconds.
    package var quitTimeout = 5
    /// `transaction_deadline`, seconds: MAIL to the last reply, however busy the peer keeps us.
    package var transactionDeadline = 3600

    /// The failure that bounces: what the file says, none where it names a life time alone, 13 where it names nothing.
    package var failureLimit: Int? { maxTempFailures ?? (queueLifetime == nil ? 13 : nil) }

    /// Seconds after which mail bounces whose next hop cannot be reached: 5 days, or the shorter of what the file says.
    package var unreachableAge: Int { [unreachableMaxAge, queueLifetime].compactMap(\.self).min() ?? 432_000 }

    /// What becomes of lines over 998 octets (RFC 5322 §2.1.1) on their way out.
    package enum LongLines: String, Hashable, Sendable, CaseIterable {
        /// They go as they came.
        case keep
        /// Their part is encoded, as text for a next hop without 8BITMIME is.
        case encode
    }

    package init() {}

    /// Messages over one session: with `always_split` each recipient has a connection of its own.
    package var messagesBeforeQuit: Int { alwaysSplit ? 1 : messagesPerSession }

    /// Which family of an MX's addresses is tried first.
    package var addressPreference: AddressPreference {
        isIPv6Enabled && inetPrefer == .any ? .anyButIPv6First : inetPrefer
    }
}

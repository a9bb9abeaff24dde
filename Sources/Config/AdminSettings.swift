// AdminSettings.swift — `admin.ini`, typed: where the API listens, what a client may ask of it, and who may ask.

package import Mail

/// `admin.ini`.
///
/// Each field names its key; the initial value is the documented default.
package struct AdminSettings: Hashable, Sendable {
    /// What a token allows; the operations of `openapi.yaml` name theirs.
    package enum Scope: String, Hashable, Sendable, CaseIterable {
        case statusRead = "status:read"
        case queueRead = "queue:read"
        case queueWrite = "queue:write"
        case contentRead = "content:read"
        case routesRead = "routes:read"
        case routesWrite = "routes:write"
        case configRead = "config:read"
        case configWrite = "config:write"
        /// Networks, users and keys of DKIM: who may send, and as whom.
        case accessRead = "access:read"
        case accessWrite = "access:write"
        case metricsRead = "metrics:read"
        case webhooksRead = "webhooks:read"
        case webhooksWrite = "webhooks:write"
        case submit
    }

    /// A section `[token NAME]`.
    package struct Token: Hashable, Sendable {
        package var name: String
        /// `hash`: `sha256:` and 64 hexadecimal digits; nil once the token is revoked.
        package var digest: [UInt8]?
        /// `scopes`.
        package var scopes: Set<Scope>
        /// `cidr`: networks it may be used from; empty: any.
        package var networks: [IPNetwork]
        /// `expires`; nil: never.
        package var expires: Timestamp?

        package init(
            name: String,
            digest: [UInt8]?,
            scopes: Set<Scope>,
            networks: [IPNetwork] = [],
            expires: Timestamp? = nil
        ) {
            self.name = name
            self.digest = digest
            self.scopes = scopes
            self.networks = networks
            self.expires = expires
        }
    }

    /// `listen`; empty: no API over TCP.
    package var listen = [IPAddress("127.0.0.1").map { ListenAddress(ip: $0, port: 8025) }].compactMap(\.self)
    /// `proxy`: those of `listen` where each connection begins with a balancer's PROXY header.
    package var proxy: [ListenAddress] = []
    /// `proxy_networks`: the balancers; nobody else gets in there.
    package var proxyNetworks: [IPNetwork] = []
    /// The file says so itself: a default that cannot be had is no reason not to start.
    package var isListenGiven = false
    /// `socket`: the Unix socket's path, below the data directory unless absolute; nil (`none`): there is none.
    package var socket: String? = "admin.sock"
    /// `socket_mode`: who may connect to it.
    package var socketMode: UInt32 = 0o660
    /// `certificate`, PEM with its chain: TLS on every TCP listener.
    package var certificate: String?
    /// `key`, PEM.
    package var key: String?
    /// `connections` at once, per listener; more get 503.
    package var connections = 32
    /// `connections_per_client` at once, from one address.
    package var connectionsPerClient = 16
    /// `timeout`, seconds: for a request to arrive, and of silence while an answer is taken.
    package var timeout = 10
    /// `body_bytes`: largest request body, of other operations than submission.
    package var bodyBytes = 1 << 20
    /// `require_if_match`: changes of files without `If-Match` get 428.
    package var requiresIfMatch = false
    /// `require_token`: also on loopback while no token exists at all.
    package var requiresToken = false
    /// `allowed_origins`: pages of these origins may read answers, `https://dash.example.org`, in lower case; empty: none.
    package var allowedOrigins: [String] = []
    /// `page`: people may use a browser.
    package var hasPage = true
    /// `metrics_allow`: networks that may read `/metrics` without a token.
    package var metricsNetworks: [IPNetwork] = []
    /// The sections `[token NAME]`.
    package var tokens: [Token] = []
    /// `MARTLET_ADMIN_TOKEN` or what its file holds; it may do everything.
    package var environmentToken: EnvironmentToken?

    package init() {}

    /// Whether a token is asked for; one that is revoked, expired or unusable counts, so that its end opens nothing.
    package var hasTokens: Bool { !tokens.isEmpty || environmentToken != nil }

    /// What it means for those who had none that there is a token; nil where nobody came without one.
    package var meaningOfTokens: String? {
        guard hasTokens, !listen.isEmpty else { return nil }
        let metrics =
            metricsNetworks.isEmpty
            ? ", /metrics too: give whoever collects it one (martlet token create prometheus --scope metrics:read), or name"
                + " its network in metrics_allow of admin.ini" : "; /metrics answers the networks of metrics_allow"
        return "The API at its TCP addresses asks everybody for a token (401 without)\(metrics)."
    }

    /// The same, unless somebody has thought of those who collect `/metrics`.
    package var remarkOnMetrics: String? {
        let isThoughtOf = tokens.contains { $0.scopes.contains(.metricsRead) && $0.scopes.count < Scope.allCases.count }
        return isThoughtOf || !metricsNetworks.isEmpty ? nil : meaningOfTokens
    }

    /// Names of tokens: they stand in section headers and in log lines.
    package static func isTokenName(_ name: some StringProtocol) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
    }
}

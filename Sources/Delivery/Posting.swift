// Posting.swift — a message as a mail API takes it: one request for all its recipients.

import HTTPClient
import JSON
package import Mail
import MessageFormat
import NIOCore
import OpenSSL

/// One message on its way to a mail API.
package struct Posting: Sendable {
    /// Whom the API knows us as.
    package let login: PostLogin
    package let sender: ReversePath
    package let recipients: [EmailAddress]
    /// Header and text, with CRLF.
    package let message: [UInt8]
    /// For the whole answer.
    package let timeout: Duration

    /// Where mail goes when `auth_user` says that each sender has a mailbox of its own.
    static let everySender = "*"

    /// The mailbox that Graph sends from; nil: the sender has none.
    var mailbox: String? {
        guard login.user.isSame(octets: Self.everySender) else { return login.user }
        guard case .address(let address) = sender else { return nil }
        return "\(address)"
    }

    /// Its user is the envelope's sender.
    var isSendersMailbox: Bool { login.user.isSame(octets: Self.everySender) }

    /// The request.
    ///
    /// - Parameters:
    ///   - token: for Graph.
    ///   - now: for the signature of SES.
    /// - Returns: nil when there is no mailbox to send from.
    func request(_ token: Secret?, at now: Timestamp) -> HTTPRequest? {
        var request: HTTPRequest
        switch login.api {
        case .graph(let base):
            guard let mailbox else { return nil }
            let body = Base64.encode(RecipientFields.fit(message, to: recipients))
            let user = PercentEncoding.encoded(mailbox, keeping: "@")
            request = HTTPRequest("POST", "\(base)/v1.0/users/\(user)/sendMail", body: Array(body.utf8))
            request.headers = [
                ("Content-Type", "text/plain"), ("Accept", "application/json"),
                ("Authorization", "Bearer \(token?.revealed ?? "")"),
            ]
        case .ses(let base, let region):
            request = ses(base, region, at: now)
        }
        request.timeout = timeout
        request.maxResponseBytes = 64 << 10
        request.cutsLongBody = true
        request.usesProxyOfEnvironment = true
        return request
    }

    /// `Destination` is the envelope: the header decides nothing.
    private func ses(_ base: String, _ region: String, at now: Timestamp) -> HTTPRequest {
        let path = "/v2/email/outbound-emails"
        var object: JSON = [
            "Content": ["Raw": ["Data": .string(Base64.encode(message))]],
            "Destination": ["BccAddresses": .strings(recipients.map { "\($0)" })],
        ]
        // Where bounces go; the From field stays what it is.
        if case .address(let address) = sender { object["FeedbackForwardingEmailAddress"] = .string("\(address)") }
        let body = Array(object.text.utf8)
        let time = SignatureV4.text(of: now)
        let signature = SignatureV4(
            accessKey: login.user,
            secretKey: login.secret ?? Secret(""),
            region: region,
            service: "ses"
        )
        let authority = String(base.split(octet: "/").last ?? "")
        let signed = [("content-type", "application/json"), ("host", authority), ("x-amz-date", time)]
        var request = HTTPRequest("POST", base + path, body: body)
        request.headers = [
            ("Content-Type", "application/json"), ("X-Amz-Date", time),
            (
                "Authorization",
                signature.authorization("POST", path: path, headers: signed, body: body, time: time)
            ),
        ]
        return request
    }
}

/// Who we are to a mail API.
package struct PostLogin: Hashable, Sendable {
    package let api: MailAPI
    /// A mailbox, `*` for that of each sender, or an access key.
    package let user: String
    /// The secret of an access key, or a fixed token.
    package let secret: Secret?
    /// What tokens are fetched with.
    package let grant: OAuthGrant?

    /// - Returns: nil for a host that is not posted to.
    package init?(_ mx: MX) {
        guard let api = mx.api, let auth = mx.auth else { return nil }
        (self.api, user) = (api, auth.user)
        switch auth.proof {
        case .password(let secret): (self.secret, grant) = (secret, nil)
        case .grant(let grant): (secret, self.grant) = (nil, grant)
        }
    }
}

extension PostAnswer {
    /// Reads what came back.
    init(_ answer: Result<HTTPResponse, HTTPError>, to posting: Posting, isRepeated: Bool) {
        self.init(posting.login.api)
        self.isRepeated = isRepeated
        isSendersMailbox = posting.isSendersMailbox
        switch answer {
        case .failure(let error): (trouble, text) = (error.kind, Self.shown(error.text, 300))
        case .success(let response):
            status = response.status
            retryAfter = response.header("retry-after").flatMap { Int($0) }
            read(response)
        }
    }

    private mutating func read(_ response: HTTPResponse) {
        let body = try? JSON(parsing: response.body, within: JSONBounds(values: 1000, memory: 1 << 20))
        let error = body?["error"]
        // `MessageRejected:http://internal.amazon.com/…` before SES v2.
        let type = response.header("x-amzn-errortype").flatMap { $0.split(octet: ":").first.map(String.init) }
        word = Self.shown(type ?? error?["code"]?.string ?? body?["__type"]?.string ?? "", 60)
        let said = error?["message"]?.string ?? body?["message"]?.string ?? body?["Message"]?.string
        let id = body?["MessageId"]?.string ?? response.header("request-id")
        text = Self.shown(said ?? id ?? "", 300)
        if let retryAfter { text += text.isEmpty ? "retry after \(retryAfter) s" : "; retry after \(retryAfter) s" }
    }

    /// Printable ASCII, for a line of SMTP.
    private static func shown(_ text: String, _ limit: Int) -> String {
        String(text.unicodeScalars.prefix(limit).map { (0x20...0x7E).contains($0.value) ? Character($0) : "?" })
    }
}

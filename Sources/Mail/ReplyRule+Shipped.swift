// ReplyRule+Shipped.swift — our table: how the servers of the world say no. The first rule that fits wins, so what is said of one
// thing alone stands before what is said of many; status codes come last, since 5.1.1 and 5.7.1 stand for anything.
//
// Held against real replies by `ReplyClassTests` (`Tests/Tables/replies.table`). RFC 3463 and the IANA registry of enhanced
// status codes give the codes their meaning.

extension ReplyRule {
    /// Ours, in order.
    static let shipped: [ReplyRule] = byText + byStatus

    /// - Parameters:
    ///   - codes: separated by blanks, such as `4xx 550`.
    ///   - statuses: likewise, such as `x.1.1 5.7.26`.
    ///   - phrases: with bars between them.
    private static func rule(
        _ name: String,
        _ replyClass: ReplyClass,
        codes: String = "",
        statuses: String = "",
        stages: Set<Failure.Stage> = [],
        _ phrases: String = ""
    ) -> ReplyRule {
        ReplyRule(
            name,
            replyClass,
            codes: codes.words.compactMap { Code($0) },
            statuses: statuses.words.compactMap { Status($0) },
            stages: stages,
            phrases: phrases.split(octet: "|").compactMap { ReplyPhrase($0) }
        )
    }

    private static let byText: [ReplyRule] = first + blocks + mailboxes + rest

    /// What must be seen before words that others use, too.
    private static let first: [ReplyRule] = [
        rule(
            "expired",
            .expired,
            """
            message expired|queue.expired|delivery time expired|retry timeout exceeded|too long in the queue|\
            given up after
            """
        ),
        rule("form", .protocolError, "duplicate header|is not rfc|not rfc compliant|unauthenticated commands"),
        rule("form-from", .protocolError, "in from: header|address in from:|multiple addresses in from"),
        rule(
            "greylist",
            .greylist,
            """
            greylist|graylist|grey list|gray list|grey-list|postgrey|greylst|\
            ^internal resource temporarily unavailable|^internal resources are temporarily unavailable|\
            not yet authorized to deliver
            """
        ),
        rule("greylist-silent", .greylist, codes: "450 451", statuses: "4.7.1 4.2.0", "^try again later"),
        rule("queue-quota", .rate, "queue quota exceeded|email quota exceeded|quota for sending"),
        rule(
            "rate",
            .rate,
            """
            rate limit|rate-limit|ratelimit|unusual rate|at a rate|too quickly|too fast|throttl|slow down|\
            slower|excessive volume|unexpected volume|frequency limit|temporarily deferred due to|\
            sending limit exceeded|relay limit exceeded|exceeded their limit|\
            exceeded the limit for the number|thread limit|connections limit exceeded|concurrent connections|\
            too many connection|too many concurrent|too many sessions|too many recent|too many messages from|\
            too many mails|too many emails|too many recipients|too many invalid recipients|\
            transaction exceeded, please try this recipient|per connection reached|\
            try again later, closing connection|try fewer|trop de connexions
            """
        ),
        rule("rate-microsoft", .rate, statuses: "4.7.500 4.7.501 4.7.650 4.7.651 4.7.652"),
        rule("rate-gmail", .rate, statuses: "4.7.28 5.7.28 x.2.121 x.2.122"),
    ]

    /// Who sends, and what it says.
    private static let blocks: [ReplyRule] = [
        rule("exchange-restricted", .policy, "resolver.rst.auth|resolver.rst.not|resolver.rst.restricted"),
        rule("exchange-sender", .policy, "resolver.rst.sendernotauth|permissions to send as"),
        rule("content-list", .spamContent, "uribl policy|antispam checks|blocked by spamassassin|spam pattern"),
        rule(
            "blocklist",
            .spamBlock,
            """
            spamhaus|spamcop|sorbs|barracudacentral|barracuda reputation|cloudmark|invaluement|hostkarma|\
            spamrl|cobion|abuseat|dnsbl| rbl|:rbl|_rbl|/rbl|.rbl|drbl|blacklist|black list|blocklist|\
            block list|blocked using|listed at|is listed|found in spl|bogon|dnsbls|denylist|deny list
            """
        ),
        rule(
            "reputation",
            .spamBlock,
            """
            reputation|banned send|block for spam|spamming issues|ip blocked|temporarily blocked|\
            been blocked by your|ip has been blocked|ip address*blocked|rejected because bad ip|\
            proofpoint.com/dnsbl|ipcheck.proofpoint|blocked - see|identified as spammer|spammer|\
            permanently deferred|spam list|spam sender|not accepted from this ip|bad outbound sender|\
            access to * mail system has been rejected|access to * e-mail system has been rejected|\
            weren't sent|(bl)|aup#cdrbl|open relay. |denyip|access from ip|from mail server*open relay
            """
        ),
        rule("name-of-host", .policy, "ptr record|ptr resource record|reverse dns|rdns|ip name lookup failed"),
        rule("name-of-client", .policy, "cannot find your hostname|cannot find your reverse|no reverse"),
        rule(
            "relay",
            .relayDenied,
            """
            relay access denied|relaying denied|relay denied|unable to relay|permitted to relay|\
            relay not permitted|relaying not allowed|relaying not permitted|relay not allowed|\
            relaying is not allowed|configured to relay|as a relay|rcpthosts|unauthorized relay|\
            relaying to*prohibited|relaying*denied|credentials for relay|forward path is not allowed|\
            not a gateway|we do not relay|not relay|relaying| to relay|for relay|relay not|relay recipient|\
            not a local domain|not my domain
            """
        ),
        rule(
            "authentication",
            .authFailed,
            """
            dmarc|dkim|spf record|spf check|spf-check|spf policy|spf fail|bad spf|sender policy framework|\
            spf unauth|failed spf|spf violation|unauthenticated|authentication required|\
            authentication unsuccessful|authentication fail|auth failed|not authenticated|smtp authentication|\
            authentication information|authentication requirement|authentication level|cannot authenticate|\
            too many login|mismatches client ip|invalid ip for sending mail|not allowed to send from|\
            is not allowed to send mail from|purported responsible|doesn't allow sending mails from
            """
        ),
        rule(
            "authentication-codes",
            .authFailed,
            statuses: "5.7.20 5.7.21 5.7.22 5.7.23 5.7.24 x.7.26 x.7.27 x.7.30 5.7.509 5.7.515"
        ),
        rule("full-or-large", .quota, statuses: "x.2.2", "mailbox is full"),
        rule(
            "content",
            .spamContent,
            """
            spam|virus|malware|content reject|rejected content|banned content|content filter|content presents|\
            illegal attachment|attachment|unsolicited|junk|bulk|spamtrap|phish|message filtered|mail filtered|\
            message filterd|ube, id|mass mailer|scored too high|suspicious|url in content
            """
        ),
    ]

    /// Mailboxes, logins, sizes, names.
    private static let mailboxes: [ReplyRule] = [
        rule("zoho-policy", .policy, "policy error|mailpolicy violation"),
        rule("tls", .protocolError, "starttls|tls required|not support tls|without tls|require tls"),
        rule("login", .authFailed, codes: "530 534 535 538", "authenti|password|credentials|login|log in"),
        rule(
            "full",
            .quota,
            """
            over quota|overquota|over-quota|quota exceeded|exceeds quota|exceeds allowed size|\
            exceeded storage|quota usage exceeded|disk quota|mailbox full|mailbox is full|full)|is full|\
            storage full|out of storage|mailbox size limit|too many messages on the server|quota violation|\
            zuviele mails|zu viele mails|pleine|storage space|mailbox has exceeded
            """
        ),
        rule(
            "size",
            .messageSize,
            """
            message size exceeds|too large|too big|size limit|exceeds size|message size limit|\
            max message size|length exceeds limit|too much mail data|databytes|message size|sizelimit|\
            maximum size
            """
        ),
        rule(
            "inactive",
            .inactive,
            """
            is disabled|been disabled|temporarily disabled|now disabled|user disabled|disabled recipient|\
            account disabled|mailbox disabled|inactiv|suspend|deactivated|is frozen|is locked|\
            temporary locked|temporarily locked|not activated|account expired|no longer valid|\
            account is blocked|mailbox has been blocked|address rejected: blocked|is restricted|\
            account closed|discontinued
            """
        ),
    ]

    private static let rest: [ReplyRule] = [
        rule(
            "domain",
            .dns,
            """
            domain not found|domain of sender|does not resolve|dns error|dns query failed|host unknown|\
            host not found|unresolv|recipient domain|domain is not reachable|host does not accept mail|\
            temporary domain failure|invalid dns mx|domain failure|nonexistentdomain
            """
        ),
        rule(
            "policy",
            .policy,
            """
            policy|policies|administrative prohibition|blocked senders|envelope blocked|spoof|\
            recipient preferences|not in my domain|rejected by destination|sender address rejected: user|\
            rejected by recipient|rejected by this user|refused to receive|sender address blocked|\
            customized-block|block-send|block-rcpt
            """
        ),
        rule("verification", .other, codes: "4xx", "verification in progress|verification temporarily"),
        rule("exchange-directory", .invalidRecipient, statuses: "5.4.1", "access denied"),
        rule(
            "mailbox",
            .invalidRecipient,
            """
            user unknown|unknown user|unknown recipient|recipient unknown|recipient*does not exist|\
            recipient*doesn't exist|user*does not exist|address does not exist|mailbox does not exist|\
            account*does not exist|reach does not exist|user not exist|nie istnieje|no such user|\
            no such address|no such recipient|no such mailbox|no such domain|no mailbox|no mail box|\
            mailbox not available|mailbox not found|mailbox unavailable|mail-box not found|\
            mailbox ( * ) not found|not found or inactiv|invalid recipient|invalid-recipient|\
            recipient not found|not a known user|not a valid mailbox|not a valid recipient|not a valid email|\
            not a valid rfc|not a registered|invalid user|invalid mailbox|invalid address|bad address|\
            addressee unknown|unknown or illegal|user not found|this user doesn't have|no account by|\
            does not have an account|not our customer|not our user|badrcptto|no valid recipients|\
            rcpt*does not exist|not in recipient list|recipient list|recipientnotfound|recipnotfound|\
            recipient address rejected: undeliverable|marked as invalid|recipient invalide|\
            destinataire invalide|could not be found|unallocated|no longer on server|no longer exists|\
            unrouteable|lookup in domain map|bad_recipient|not a member of domain|\
            recipient cannot be verified|this account is not|path no exist|no-domain|unknown.|\
            recipient unavailable|inexistente|) unknown|doesn't exist|does not exist|not exist|unknown local|\
            unknown address|unknown mailbox|mailbox unknown|undeliverable address|unverified address|\
            unknown account|no user|no account|address unknown|is unknown|invalid account|not found|\
            cannot find user
            """
        ),
        rule(
            "mailbox-cox",
            .invalidRecipient,
            codes: "550",
            """
            > recipient rejected|recipient address rejected.|address rejected.
            """
        ),
        rule(
            "conversation",
            .protocolError,
            """
            bad sequence|improper sequence|need rcpt|rcpt first|syntax error|parameter not implemented|\
            protocol violation|too many hops|hop count|mail loop|loop detected|malformed|mime error|\
            mime/reject|missing a valid|missing header|improper|invalid data|not implemented|unrecognized|\
            command rejected|bare lf|line feed|lone cr|not supported|header error|invalid header|8-bit data|\
            too many errors|line limit|need fully-qualified|line too long|invalid structure|helo command|\
            helo/ehlo|mailbox delivery failure|identity changes|data after bdat
            """
        ),
        rule(
            "connection",
            .connection,
            """
            timed out|timeout|service not available|service temporarily|service is currently unavailable|\
            service currently unavailable|service unavailable|resources temporarily unavailable|\
            not accepting connections|busy|connection refused|connection reset|connection dropped|\
            unable to process connection|shutting down|no route to host|cannot establish session|\
            contact destination|connection lost|lost connection
            """
        ),
        rule(
            "refused",
            .policy,
            """
            access denied|client host rejected|sender rejected|not authorized|host network not allowed|\
            not allowed to connect|not verified|requires confirmation|sender verify failed|verify mailfrom|\
            verification failed|authorized to send email directly|invalid sender|service refuse
            """
        ),
        rule("too-much", .rate, "too many|limit exceeded|exceeded limit|limit reached|limit has been|over the limit"),
        rule("sender", .dns, statuses: "x.1.8"),
        rule(
            "temporary",
            .other,
            codes: "4xx",
            """
            upstream error|temporary failure|temporary server error|temporary system|^please try again later|\
            internal server error|temporary|insufficient
            """
        ),
    ]

    /// What the codes say when the words say nothing.
    private static let byStatus: [ReplyRule] = [
        rule("status-mailbox", .invalidRecipient, statuses: "x.1.1 x.1.3 x.1.6"),
        rule("status-domain", .dns, statuses: "x.1.2 x.1.10 x.4.4 x.4.312"),
        rule("status-inactive", .inactive, statuses: "x.2.1 x.7.13"),
        rule("status-full", .quota, statuses: "x.2.2"),
        rule("status-size", .messageSize, statuses: "x.2.3 x.3.4"),
        rule("status-connection", .connection, statuses: "x.4.1 x.4.2 x.4.316 x.4.317"),
        rule("status-loop", .protocolError, statuses: "x.4.6"),
        rule("status-expired", .expired, statuses: "x.4.7"),
        rule("status-recipients", .rate, statuses: "x.5.3"),
        rule("status-protocol", .protocolError, statuses: "x.5.1 x.5.2 x.5.4 x.5.5"),
        rule("status-content", .spamContent, statuses: "x.6.x"),
        rule("status-login", .authFailed, statuses: "x.7.8"),
        rule("status-policy", .policy, statuses: "x.7.x"),
        rule("code-login", .authFailed, codes: "530 534 535 538"),
        rule("code-mailbox", .invalidRecipient, codes: "550 551 553", stages: [.recipient]),
        rule("code-full", .quota, codes: "552", stages: [.recipient]),
        rule("code-size", .messageSize, codes: "552", stages: [.mail, .data, .body, .endOfData]),
        rule("code-protocol", .protocolError, codes: "500 501 502 503 504 555"),
        rule("code-connection", .connection, codes: "421 426"),
        rule(
            "words-refused",
            .policy,
            codes: "5xx",
            """
            rejected|refused|denied|not allowed|not accepted|no permit|blocked|prohibited|mismatch|not local
            """
        ),
    ]
}

// PostAnswer.swift — what the answer of a mail API means in words of SMTP: pure policy, row by row in
// `Tests/Tables/post_answers.table`.
//
// The rule behind the rows: what concerns the message is final, what concerns our login, the account or the server is not; and
// of a request that was sent and not answered nobody knows whether the message is on its way.

package import HTTPClient
package import Mail

/// What came back from a mail API.
package struct PostAnswer: Hashable, Sendable {
    package var api: MailAPI
    /// The status of HTTP; nil: there is no answer.
    package var status: Int?
    /// Why there is none.
    package var trouble: HTTPError.Kind?
    /// The API's own word, such as `ErrorSendAsDenied`.
    package var word = ""
    /// Its sentence, or why there is no answer; printable.
    package var text = ""
    /// Seconds of `Retry-After`.
    package var retryAfter: Int?
    /// A fresh token was used already.
    package var isRepeated = false
    /// The mailbox of the request is the envelope's sender, and no setting of ours.
    package var isSendersMailbox = false

    package init(_ api: MailAPI) { self.api = api }
}

/// What follows.
package enum PostStep: Hashable, Sendable {
    /// The reply to the dot.
    case reply(Reply)
    /// Once more with a fresh token.
    case renew
    /// There is no reply: the message may be on its way.
    case unknown(String)
}

/// Decides.
package func postStep(after answer: PostAnswer) -> PostStep {
    guard let status = answer.status else { return unanswered(answer) }
    switch status {
    case 200...299: return .reply(Reply(250, EnhancedStatus(2, 0, 0), answer.words("accepted")))
    // The server's server did not answer it: it may have worked all the same.
    case 502, 504: return .unknown(answer.words("no answer from behind the gateway"))
    case 401:
        if case .graph = answer.api, !answer.isRepeated { return .renew }
        return .reply(Reply(451, EnhancedStatus(4, 7, 0), answer.words("the login is refused")))
    case 413: return .reply(Reply(552, EnhancedStatus(5, 3, 4), answer.words("the message is too large")))
    // 421 is a word about load: the lane rests, and fewer sessions come back.
    case 429, 503: return .reply(Reply(421, EnhancedStatus(4, 7, 0), answer.words("too much at once")))
    case 408, 409, 425, 500...599: return .reply(Reply(451, EnhancedStatus(4, 3, 0), answer.words("not now")))
    case 400...499: return .reply(refused(answer, status))
    default: return .reply(Reply(451, EnhancedStatus(4, 3, 5), answer.words("not an answer of this API")))
    }
}

private func unanswered(_ answer: PostAnswer) -> PostStep {
    switch answer.trouble {
    case .invalidRequest: .reply(Reply(451, EnhancedStatus(4, 3, 5), answer.words("cannot be asked")))
    case .cannotResolve, .cannotConnect: .reply(Reply(451, EnhancedStatus(4, 4, 1), answer.words("out of reach")))
    case .tls: .reply(Reply(451, EnhancedStatus(4, 7, 5), answer.words("no trusted connection")))
    case .timedOut, .tooLarge, .broken, nil: .unknown(answer.words("no answer"))
    }
}

/// Words of the account, our rights and our settings: not the message's fault.
private let accountWords = [
    "ErrorAccessDenied", "Authorization_RequestDenied", "Authorization_IdentityNotFound", "AccessDenied", "Forbidden",
    "AccessDeniedException", "InvalidAuthenticationToken", "InvalidClientTokenId", "SignatureDoesNotMatch",
    "UnrecognizedClientException", "MissingAuthenticationToken", "ExpiredTokenException", "IncompleteSignature",
    "AccountSuspendedException", "SendingPausedException", "ConfigurationSetDoesNotExist", "LimitExceededException",
    "ErrorQuotaExceeded", "ErrorMessageQuotaExceeded", "ErrorExceededMessageLimit", "ApplicationThrottled",
    "MailboxNotEnabledForRESTAPI", "OrganizationFromTenantGuidNotFound", "ResourceNotFound", "NotFoundException",
]

private func refused(_ answer: PostAnswer, _ status: Int) -> Reply {
    if ["ErrorSendAsDenied", "ErrorSendOnBehalfOfDenied"].contains(answer.word) {
        return Reply(550, EnhancedStatus(5, 7, 60), answer.words("the mailbox may not send as this sender"))
    }
    if answer.word == "ErrorMessageSizeExceeded" || answer.word == "RequestEntityTooLarge" {
        return Reply(552, EnhancedStatus(5, 3, 4), answer.words("the message is too large"))
    }
    if answer.word == "MailFromDomainNotVerifiedException" {
        return Reply(550, EnhancedStatus(5, 7, 1), answer.words("the sender's domain is not verified"))
    }
    if status == 404, answer.isSendersMailbox {
        return Reply(550, EnhancedStatus(5, 1, 8), answer.words("the sender has no mailbox"))
    }
    if status == 403 || status == 404 || accountWords.contains(answer.word) {
        return Reply(451, EnhancedStatus(4, 7, 0), answer.words("the account may not do this"))
    }
    if answer.word == "ErrorInvalidRecipients" {
        return Reply(550, EnhancedStatus(5, 1, 3), answer.words("an address is refused"))
    }
    return Reply(550, EnhancedStatus(5, 6, 0), answer.words("the message is refused"))
}

extension PostAnswer {
    /// For logs and reports.
    fileprivate func words(_ meaning: String) -> String {
        let code = status.map { "HTTP \($0)" } ?? ""
        return [meaning, [code, word].filter { !$0.isEmpty }.joined(separator: " "), text].filter { !$0.isEmpty }
            .joined(separator: ": ")
    }
}

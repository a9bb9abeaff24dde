// PostfixWordsTests.swift — the log puts our replies into Postfix's words: those it knows are those that we say.

import Mail
import TestSupport
import Testing

@testable import Log
@testable import SMTP

struct PostfixWordsTests {
    @Test func theReplyThatIsTranslatedIsTheOneThatIsSaid() {
        let said: [CannedReply] = [
            .relayDenied, .senderDomain, .notYourSender, .notYourAuthor, .tooLarge, .tooManyRecipients, .authNeedsTLS,
            .tooManyErrors, .tooManyAuthFailures, .tooManyIdleCommands, .earlyTalker, .tlsPipelined, .notSMTP,
        ]
        let known = Set(PostfixFormat.words.keys).union(PostfixFormat.manyErrors).union(PostfixFormat.pipelining)
            .union(PostfixFormat.foreign)
        #expect(known == Set(said.flatMap(\.reply.lines)))
    }
}

// Problem+Common.swift — problems that several operations have: each says what happened, and what to do next.

import Files
import JSON
import Mail
import OpenSSL

extension Problem {
    /// What stands in the path is no name of the kind.
    ///
    /// - Parameters:
    ///   - member: where answers have it.
    ///   - form: a sentence that says what such a name is.
    static func badName(_ member: String, _ form: String) -> Problem {
        Problem(.invalid, form, issues: [Issue("/\(member)", "format", "is no such name")])
    }

    /// There is none of that name, and where to look.
    static func missing(_ noun: String, in table: String) -> Problem {
        Problem(.notFound, "there is no such \(noun); GET \(table) shows those that there are")
    }

    /// The relay ends; a balancer, or the next start, has another answer.
    static let stopping = Problem(
        .unavailable,
        "the relay is stopping; ask again when it has started, or ask another one",
        headers: [HeaderField("Retry-After", "30")]
    )

    /// `storage.ini`'s database is away.
    static let databaseAway = Problem(
        .unavailable,
        "the database does not answer; see that it runs and that storage.ini names it rightly (martlet doctor tries it), and ask again",
        headers: [HeaderField("Retry-After", "5")]
    )

    /// Another relay of the same queue is away.
    static func nodeAway(_ name: String) -> Problem {
        Problem(
            .unavailable,
            "node \(name) does not answer; ask again, and if it stays away see GET /v1/nodes: its mail goes to the others once its lease has run out",
            headers: [HeaderField("Retry-After", "5")]
        )
    }

    /// Nothing secret can be made.
    static let noRandomness = Problem(
        .internalError,
        "the system gave no random octets, so no secret was made and nothing was changed; try again, and if it stays so see that the relay may use getrandom(2)"
    )

    /// OpenSSL makes no key.
    static func keyNotMade(_ error: TLSError) -> Problem {
        Problem(
            .internalError,
            "the key cannot be made, and nothing was changed: \(error); try again, or make one elsewhere (martlet dkim generate) and PUT it as private_key"
        )
    }

    /// A file of a key is not on the disk.
    static func keyNotWritten(_ error: DiskError) -> Problem {
        error.isForbidden
            ? Problem(
                .readOnly,
                "the configuration cannot be written here, so the key cannot be kept; make it where the configuration comes from: martlet dkim generate"
            )
            : Problem(
                .internalError,
                "the key was not written, and nothing was changed: \(error); see that the disk of the configuration has room and works, and try again"
            )
    }
}

extension ObjectReader where Refusal == Problem {
    /// Takes the member that repeats the name in the path.
    mutating func passOverName(_ member: String, _ isSame: (String) -> Bool) throws(Problem) {
        try refuseNull(member)
        guard let given = try string(member), !isSame(given) else { return }
        throw Problem.invalid(pointer(member), "exclusive", "is another name than the path's")
    }

    /// Takes a member that may be taken back.
    ///
    /// - Returns: nil when nothing is said of it; nil inside when it is null.
    mutating func said<Value>(
        _ member: String,
        _ read: (inout Self) throws(Problem) -> Value?
    ) throws(Problem) -> Value?? {
        let isNull = isNull(member)
        if let value = try read(&self) { return .some(value) }
        return isNull ? .some(nil) : nil
    }
}

// SASLExchange.swift — the server's side of one AUTH command as a value: responses in, challenges and questions out
// (RFC 4954, 4616, 2195, 5802, 7677; LOGIN as everybody does it).
//
// It knows no passwords and computes no hashes: whoever owns the session answers the questions. Guarantees: nothing a
// client sends can trap; a response that is wrong in any way ends the exchange; a NUL or broken UTF-8 never reaches a
// name or a password.

package import Mail

/// What a session needs to know before an exchange can go on.
package enum SASLQuestion: Hashable, Sendable {
    /// Is this the user's password?
    case password(user: String, password: [UInt8])
    /// Is this the keyed digest, in hexadecimal, of the challenge with the user's password?
    case cramMD5(user: String, challenge: [UInt8], digest: [UInt8])
    /// What salt and how many rounds does this user have? Asked for users that do not exist, too.
    case scramSalt(user: String)
    /// Does the proof fit the user's keys? Answered with the server's signature.
    case scramProof(user: String, message: [UInt8], proof: [UInt8])
    /// Whose access token is this, and may it be used here? The user that the client names, empty for none.
    case token(user: String, token: [UInt8])
}

/// What the owner of a session found out.
package enum SASLAnswer: Hashable, Sendable {
    case accepted
    /// The same, of somebody with this name, bound to what it may use as sender where that is said.
    case acceptedAs(String, bound: SenderConstraint?)
    case refused
    case scramSalt([UInt8], iterations: Int)
    case scramSignature([UInt8])
    /// It could not be found out; the client may try later.
    case unavailable
    /// Too many failures: the session is to end.
    case tooMany
}

/// One exchange, from the mechanism's name to its verdict.
struct SASLExchange: Hashable, Sendable {
    /// What comes next.
    enum Step: Hashable {
        /// Send this, in base64, and give the response to ``receive(_:)``.
        case challenge([UInt8])
        case ask(SASLQuestion)
        case accepted(String)
        case refused
        /// The response is not what the mechanism prescribes.
        case malformed
    }

    private enum State: Hashable {
        case plain, loginName
        case loginPassword(String)
        case cram([UInt8])
        case scramFirst
        case scramSalt(ScramFirst)
        case scramFinal(ScramFirst, serverFirst: [UInt8])
        /// The server has proved itself; an empty response is to come.
        case scramEnd(String)
        case token(isBare: Bool)
        /// A question about a token is open.
        case tokenVerdict(user: String, isBare: Bool)
        /// The client was told why not; a dummy response is to come (RFC 7628 §3.2.3).
        case tokenError
        /// A question is open that the verdict depends on.
        case verdict(String)
        case ended
    }

    private var state: State
    private let nonce: String

    /// - Parameters:
    ///   - nonce: printable and never used before: at least 128 random bits.
    ///   - me: our host name, for the challenge of CRAM-MD5.
    init(_ mechanism: SASLMechanism, nonce: String, me: String) {
        self.nonce = nonce
        state =
            switch mechanism {
            case .plain: .plain
            case .login: .loginName
            case .cramMD5: .cram(Array("<\(nonce)@\(me)>".utf8))
            case .scramSHA256: .scramFirst
            case .xoauth2: .token(isBare: true)
            case .oauthBearer: .token(isBare: false)
            }
    }

    /// Begins.
    ///
    /// - Parameter initial: the initial response; nil when the client sent none.
    mutating func begin(_ initial: [UInt8]?) -> Step {
        if case .cram(let challenge) = state { return initial == nil ? .challenge(challenge) : end(.malformed) }
        if let initial { return receive(initial) }
        if case .loginName = state { return .challenge(Array("Username:".utf8)) }
        return .challenge([])
    }

    /// Takes the client's response to the last challenge.
    mutating func receive(_ response: [UInt8]) -> Step {
        switch state {
        case .plain: return plain(response)
        case .loginName:
            guard let user = Self.name(response) else { return end(.malformed) }
            state = .loginPassword(user)
            return .challenge(Array("Password:".utf8))
        case .loginPassword(let user): return password(user, response)
        case .cram(let challenge): return cram(challenge, response)
        case .scramFirst:
            guard let first = ScramFirst(response) else { return end(.malformed) }
            state = .scramSalt(first)
            return .ask(.scramSalt(user: first.user))
        case .scramFinal(let first, let serverFirst): return scramFinal(first, serverFirst, response)
        case .scramEnd(let user): return response.isEmpty ? end(.accepted(user)) : end(.malformed)
        case .token(let isBare): return token(response, isBare: isBare)
        case .tokenError: return end(.refused)
        case .scramSalt, .verdict, .tokenVerdict, .ended: return end(.malformed)
        }
    }

    /// Takes the answer to the question that is open.
    mutating func answered(_ answer: SASLAnswer) -> Step {
        switch (state, answer) {
        case (.verdict(let user), .accepted): return end(.accepted(user))
        case (.verdict, .acceptedAs(let name, _)), (.tokenVerdict, .acceptedAs(let name, _)):
            return end(.accepted(name))
        case (.tokenVerdict(_, let isBare), .refused):
            state = .tokenError
            return .challenge(Self.tokenError(isBare: isBare))
        case (.scramSalt(let first), .scramSalt(let salt, let iterations)):
            let text = "r=\(first.nonce)\(nonce),s=\(Base64.encode(salt)),i=\(iterations)"
            state = .scramFinal(first, serverFirst: Array(text.utf8))
            return .challenge(Array(text.utf8))
        case (.verdict(let user), .scramSignature(let signature)):
            state = .scramEnd(user)
            return .challenge(Array("v=\(Base64.encode(signature))".utf8))
        default: return end(.refused)
        }
    }

    // MARK: Mechanisms

    /// `[authzid] NUL authcid NUL passwd` (RFC 4616 §2).
    private mutating func plain(_ response: [UInt8]) -> Step {
        let parts = response.split(octet: "\0", omittingEmpty: false)
        guard parts.count == 3, let user = Self.name(parts[1]) else { return end(.malformed) }
        // Nobody may act for somebody else.
        guard parts[0].isEmpty || parts[0].elementsEqual(parts[1]) else { return end(.refused) }
        return password(user, Array(parts[2]))
    }

    private mutating func password(_ user: String, _ password: [UInt8]) -> Step {
        guard !password.isEmpty, !password.contains(0) else { return end(.malformed) }
        state = .verdict(user)
        return .ask(.password(user: user, password: password))
    }

    /// `name digest` (RFC 2195 §2); a name may hold spaces, a digest does not.
    private mutating func cram(_ challenge: [UInt8], _ response: [UInt8]) -> Step {
        guard let space = response.lastIndex(of: 0x20), let user = Self.name(response[..<space]) else {
            return end(.malformed)
        }
        let digest = Array(response[(space + 1)...])
        guard digest.count == 32 else { return end(.malformed) }
        state = .verdict(user)
        return .ask(.cramMD5(user: user, challenge: challenge, digest: digest))
    }

    /// `c=…,r=…,p=…` (RFC 5802 §5.1).
    private mutating func scramFinal(_ first: ScramFirst, _ serverFirst: [UInt8], _ response: [UInt8]) -> Step {
        guard let comma = response.lastIndex(of: UInt8(ascii: ",")) else { return end(.malformed) }
        let bare = response[..<comma]
        let last = response[(comma + 1)...]
        guard last.starts(with: Array("p=".utf8)), let proof = Base64.decode(last.dropFirst(2)), proof.count == 32
        else { return end(.malformed) }
        let expected = Array("c=\(Base64.encode(first.header)),r=\(first.nonce)\(nonce)".utf8)
        let rest = bare.dropFirst(expected.count)
        guard bare.starts(with: expected), rest.isEmpty || rest.first == UInt8(ascii: ",") else { return end(.refused) }
        let comma1 = [UInt8(ascii: ",")]
        let message = first.bare + comma1 + serverFirst + comma1 + Array(bare)
        state = .verdict(first.user)
        return .ask(.scramProof(user: first.user, message: message, proof: proof))
    }

    /// `n,a=user,^Ahost=…^Aport=…^Aauth=Bearer token^A^A` (RFC 7628 §3.1), and XOAUTH2's `user=user^Aauth=Bearer token^A^A`.
    private mutating func token(_ response: [UInt8], isBare: Bool) -> Step {
        guard let message = TokenMessage(response, isBare: isBare) else { return end(.malformed) }
        state = .tokenVerdict(user: message.user, isBare: isBare)
        return .ask(.token(user: message.user, token: message.token))
    }

    /// Why a token is not good, as the two mechanisms say it: nothing that tells one reason from another.
    private static func tokenError(isBare: Bool) -> [UInt8] {
        Array((isBare ? #"{"status":"401","schemes":"bearer","scope":""}"# : #"{"status":"invalid_token"}"#).utf8)
    }

    private mutating func end(_ step: Step) -> Step {
        state = .ended
        return step
    }

    /// A name that may stand in a log and an envelope: UTF-8 without controls, at most 255 octets.
    static func name(_ bytes: some Collection<UInt8>) -> String? {
        guard (1...255).contains(bytes.count), !bytes.contains(where: { $0 < 0x20 || $0 == 0x7F }) else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }
}

/// The client's first message of SCRAM (RFC 5802 §5.1, §7).
struct ScramFirst: Hashable, Sendable {
    let user: String
    let nonce: String
    /// The part that says how channel binding stands, with its comma.
    let header: [UInt8]
    /// The rest.
    let bare: [UInt8]

    /// - Returns: nil for channel binding, for somebody who wants to act for another, for mandatory extensions, and for
    ///   what is not SCRAM at all.
    init?(_ message: [UInt8]) {
        let fields = message.split(octet: ",", omittingEmpty: false)
        guard fields.count >= 4, fields[0] == [UInt8(ascii: "n")] || fields[0] == [UInt8(ascii: "y")],
            fields[2].starts(with: Array("n=".utf8)), fields[3].starts(with: Array("r=".utf8)),
            let user = Self.unescape(fields[2].dropFirst(2)).flatMap(SASLExchange.name)
        else { return nil }
        if !fields[1].isEmpty {
            guard fields[1].starts(with: Array("a=".utf8)), fields[1].dropFirst(2).elementsEqual(fields[2].dropFirst(2))
            else { return nil }
        }
        let nonce = fields[3].dropFirst(2)
        guard (1...512).contains(nonce.count), nonce.allSatisfy({ (0x21...0x7E).contains($0) }) else { return nil }
        self.user = user
        self.nonce = String(decoding: nonce, as: UTF8.self)
        let headerLength = fields[0].count + fields[1].count + 2
        header = Array(message[..<headerLength])
        bare = Array(message[headerLength...])
    }

    /// `=2C` is a comma and `=3D` an equals sign; no other escape exists.
    static func unescape(_ text: some Collection<UInt8>) -> [UInt8]? {
        var result: [UInt8] = []
        var rest = Array(text)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "=") else {
                result.append(byte)
                continue
            }
            if rest.starts(with: Array("2C".utf8)) {
                result.append(UInt8(ascii: ","))
            } else if rest.starts(with: Array("3D".utf8)) {
                result.append(UInt8(ascii: "="))
            } else {
                return nil
            }
            rest = rest.dropFirst(2)
        }
        return result
    }
}

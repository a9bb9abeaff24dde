// MachineDriver.swift — the bare server machine as something to talk to: no socket, no clock, no disk.

import Mail
import NIOCore
import OpenSSL
import TestSupport

@testable import SMTP

/// Does what a session's handler does, at once.
final class MachineDriver: DialogueServer {
    struct Accepted: Equatable {
        let envelope: Envelope
        let body: ByteBuffer
        let hasLeadingDots: Bool
        let isEightBit: Bool
    }

    private let setup: DialogueSetup
    /// Lengths of the pieces that input is cut into, the last one repeated; empty leaves it whole.
    private let cuts: [Int]
    private var machine: ServerMachine
    private var input = ByteBuffer()
    private var body = ByteBuffer()
    private var cut = 0
    var output: ByteBuffer { machine.output }
    private(set) var hasClosed = false
    private(set) var accepted: [Accepted] = []
    /// Messages that were begun and neither accepted nor forgotten; 0 or 1 or the machine is wrong.
    private(set) var open = 0
    private(set) var complaint: String?
    /// Questions about a password that were answered in the client's favour.
    private(set) var grants = 0

    init(_ setup: DialogueSetup, cuts: [Int] = []) {
        self.setup = setup
        self.cuts = cuts
        machine = ServerMachine(
            me: Domain(unchecked: "relay.example"),
            limits: setup.limits,
            mayRelay: setup.mayRelay,
            offer: setup.offer,
            nonce: { "nonce" }
        )
        machine.offersTLS = setup.offersTLS
        (machine.offersXCLIENT, machine.offersXFORWARD) = (setup.offersClaims, setup.offersClaims)
        machine.greet(spokeEarly: setup.spokeEarly)
        run()
    }

    func send(_ bytes: ByteBuffer) {
        var bytes = bytes
        while bytes.readableBytes > 0 {
            let size = cuts.isEmpty ? bytes.readableBytes : max(1, cuts[min(cut, cuts.count - 1)])
            cut += 1
            guard var piece = bytes.readSlice(length: min(size, bytes.readableBytes)) else { return }
            input.writeBuffer(&piece)
            run()
        }
    }

    func line() -> String? {
        guard let end = machine.output.readableBytesView.firstIndex(of: 10),
            let line = machine.output.readString(length: end - machine.output.readerIndex - 1)
        else { return nil }
        machine.output.moveReaderIndex(forwardBy: 2)
        return line
    }

    func isClosed() -> Bool { hasClosed && machine.output.readableBytes == 0 }

    func direct(_ name: String) {
        switch name {
        case "drain": machine.drain()
        case "handshake":
            let offer = AuthOffer(mechanisms: setup.users.isEmpty ? [] : [.plain])
            machine.secured(mayRelay: setup.mayRelay, offer: offer)
        default: machine.timedOut()
        }
        run()
    }

    func messages() -> [String] {
        accepted.map { message in
            let recipients = message.envelope.recipients.map(\.address.description).joined(separator: ",")
            return "\(message.envelope.sender) > \(recipients) : \(Dialogue.escape(message.body))"
        }
    }

    private func run() {
        while !hasClosed {
            switch machine.advance(&input, &body) {
            case .input: return
            case .room: machine.roomChecked(setup.hasRoom)
            case .envelope: machine.envelopeGrown(true)
            case .ask: machine.answered(nil)
            case .authenticate(let question):
                let answer = answer(question)
                switch answer {
                case .accepted, .acceptedAs, .scramSignature: grants += 1
                case .refused, .scramSalt, .unavailable, .tooMany: break
                }
                machine.authenticated(answer)
            case .startTLS: machine.tlsBegins(!setup.isTLSBroken)
            case .readdress(let claim):
                machine.readdressed(
                    claim,
                    user: claim.login.value,
                    mayRelay: claim.address.value?.isLoopback ?? false,
                    offer: setup.offer
                )
            case .begin:
                if setup.hasRoom {
                    open += 1
                    body = ByteBuffer()
                }
                if open > 1 { complaint = "a message was begun inside another" }
                machine.begun(setup.hasRoom)
            case .content: if open != 1 { complaint = "content outside a message" }
            case .commit: commit()
            case .abandon:
                if open != 1 { complaint = "nothing to abandon" }
                open = 0
            case .close:
                hasClosed = true
                open = 0
            }
        }
    }

    private func answer(_ question: SASLQuestion) -> SASLAnswer {
        switch question {
        case .password("broken", _): .unavailable
        case .password("enemy", _): .tooMany
        case .password(let user, let password):
            setup.users[user].map { Array($0.utf8) } == password ? .accepted : .refused
        case .cramMD5(let user, let challenge, let digest):
            setup.users[user].map { password in
                let mac = KeyedHash.hmac(.md5, key: Array(password.utf8), message: challenge)
                return mac.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined().utf8.elementsEqual(digest)
            } == true ? .accepted : .refused
        // Any salt and signature will do: the arithmetic of SCRAM is tested where it is.
        case .scramSalt: .scramSalt(Array("saltsalt".utf8), iterations: 4096)
        case .scramProof(let user, _, let proof):
            setup.users[user] != nil && proof.first != 0 ? .scramSignature([1, 2, 3]) : .refused
        // A token is somebody's password here.
        case .token(let user, let token):
            setup.users.first { Array($0.value.utf8) == token && (user.isEmpty || user == $0.key) }
                .map { .acceptedAs($0.key, bound: .only(["x.example"])) } ?? .refused
        }
    }

    private func commit() {
        guard open == 1, let envelope = machine.takeEnvelope() else {
            complaint = "a commit without a message"
            return
        }
        open = 0
        switch setup.commit {
        case "full": machine.committed(.refused(.noRoom))
        case "broken": machine.committed(.refused(.storageFailed))
        case "closing": machine.committed(.refused(.closing))
        case "late": machine.committed(.refused(.tooSlow))
        default:
            accepted.append(
                Accepted(
                    envelope: envelope,
                    body: body,
                    hasLeadingDots: machine.hasLeadingDots,
                    isEightBit: machine.isEightBit
                )
            )
            machine.committed(.queued(QueueID(rawValue: UInt64(accepted.count))))
        }
    }
}

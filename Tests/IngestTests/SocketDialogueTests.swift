// SocketDialogueTests.swift — every server dialogue over a real socket, with handler, queue and log behind it.

import Config
import Ingest
import Mail
import NIOCore
import Queue
import SMTP
import Storage
import TestSupport
import Testing

struct SocketDialogueTests {
    @Test(arguments: try Dialogue.load(folder: "server"))
    func goesAsWritten(dialogue: Dialogue) async throws {
        let setup = try DialogueSetup(dialogue)
        if setup.isForMachineOnly || !setup.users.isEmpty { return }
        let relay = try await TestRelay { settings in
            settings.listener.commandBytes = setup.limits.commandBytes
            settings.listener.messageBytes = setup.limits.messageBytes
            settings.listener.recipients = setup.limits.recipients
            settings.listener.errors = setup.limits.errors
            settings.listener.idleCommands = setup.limits.idleCommands
            settings.listener.lenient.isForAll = setup.limits.isLenient
            settings.listener.localSender = setup.limits.local?.sender
            if !setup.mayRelay { settings.relayNetworks = [] }
        }
        relay.store.setRoom(setup.hasRoom)
        switch setup.commit {
        case "full": relay.store.set(.failing(.full("test")))
        case "broken": relay.store.set(.failing(.broken("test")))
        case "closing": relay.store.set(.failing(.closing))
        default: break
        }
        let differences = try dialogue.play(to: SocketServer(Socket(port: relay.port), relay.store))
        #expect(differences.isEmpty, "\(differences.joined(separator: "\n"))")
        await relay.listener.stop(patience: 0)
        let accepted = relay.store.messages.reduce(0) { $0 + $1.residentBytes }
        #expect(relay.queue.memory.used == accepted)
    }
}

/// The far end of a socket as something to talk to.
private final class SocketServer: DialogueServer {
    private let socket: Socket
    private let store: ReceivingStore

    init(_ socket: Socket, _ store: ReceivingStore) {
        self.socket = socket
        self.store = store
    }

    func send(_ bytes: ByteBuffer) throws { try socket.send(Array(bytes.readableBytesView)) }
    func line() -> String? { socket.line() }
    func isClosed() -> Bool { socket.isAtEnd() }
    func direct(_ name: String) {}

    func messages() -> [String] {
        store.messages.map { message in
            let recipients = message.envelope.recipients.map(\.address.description).joined(separator: ",")
            guard case .memory(let body) = message.content.body else { return "a file" }
            return "\(message.envelope.sender) > \(recipients) : \(Dialogue.escape(body))"
        }
    }
}

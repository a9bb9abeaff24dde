// PluginServices.swift — the relay as plugins see it, and which of them are on.

import Config
import Hooks
import Intake
import Log
import Loop
import Mail
import NIOCore
import NIOPosix
import Queue
import RemoteHooks
import Storage

/// What plugins may ask of the relay.
struct PluginServices: RelayServices {
    let intake: Intake
    let loop: any EventLoop
    var log: LogSink { intake.log }
    var me: Domain { intake.settings.ask { $0.me } }

    func contents(of id: QueueID) async throws(Failure) -> MessageContents {
        let queue = intake.queue
        let read: EventLoopFuture<Result<Content?, QueueError>> = queue.disk.runIfActive(eventLoop: loop) {
            do throws(QueueError) { return .success(try queue.content(of: id)) } catch { return .failure(error) }
        }
        switch (try? await read.get()) ?? .failure(.closing) {
        case .success(let content?): return MessageContents(content, disk: queue.disk, loop: loop)
        case .success(nil):
            let reply = Reply(550, EnhancedStatus(5, 6, 0), "message \(id) is not in the queue")
            throw Failure(.message, at: .body, reply)
        case .failure(let error): throw Failure(.message, at: .body, Refusal(because: error).reply)
        }
    }

    func submit(from: ReversePath, to: [EmailAddress], contents: [UInt8]) async throws(Failure) -> QueueID {
        switch await intake.submit(Submission(from: from, to: to, contents: contents), on: loop) {
        case .queued(let id, _), .taken(let id): return id
        case .refused(let refusal): throw Failure(.message, at: .body, refusal.reply)
        }
    }
}

extension HookSettings {
    /// Names in `plugins` that are not compiled in, as warnings.
    var unknownPlugins: [ConfigError] {
        plugins.filter { !Plugins.names.contains($0) }.map { name in
            let known = Plugins.names.joined(separator: ", ")
            return ConfigError(file: Self.file, reason: "there is no plugin \(name); compiled in: \(known)")
        }
    }
}

extension BlockingThreads {
    /// Threads that do nothing else, made with the first call.
    static func ofTheirOwn(_ count: Int) -> BlockingThreads {
        let pool = NIOThreadPool(numberOfThreads: count)
        return BlockingThreads { work in
            pool.start()
            pool.submit { _ in work() }
        }
    }
}

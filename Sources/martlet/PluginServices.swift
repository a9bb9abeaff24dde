// PluginServices.swift — the relay as plugins see it, and which of them are on.

import Config
import Hooks
import Ingest
import Log
import Mail
import NIOCore
import NIOPosix
import Queue
import RemoteHooks
import Storage

/// What plugins may ask of the relay.
struct PluginServices: RelayServices {
    let queue: MailQueue
    let submitter: Submitter
    let loop: any EventLoop
    let settings: @Sendable () -> Settings
    let log: LogSink

    init(queue: MailQueue, loop: any EventLoop, settings: @escaping @Sendable () -> Settings, log: LogSink) {
        self.queue = queue
        self.loop = loop
        self.settings = settings
        self.log = log
        submitter = Submitter(queue: queue, as: .inside, log: log, settings: settings)
    }

    var me: Domain { settings().me }

    func contents(of id: QueueID) async throws(Failure) -> MessageContents {
        let queue = self.queue
        let read: EventLoopFuture<Result<Content?, QueueError>> = queue.disk.runIfActive(eventLoop: loop) {
            do throws(QueueError) { return .success(try queue.content(of: id)) } catch { return .failure(error) }
        }
        switch (try? await read.get()) ?? .failure(.closing) {
        case .success(let content?): return MessageContents(content, disk: queue.disk, loop: loop)
        case .success(nil): throw Self.failure(.damaged("message \(id) is not in the queue"))
        case .failure(let error): throw Self.failure(error)
        }
    }

    func submit(from: ReversePath, to: [EmailAddress], contents: [UInt8]) async throws(Failure) -> QueueID {
        do throws(QueueError) {
            return try await submitter.sendEmail(from: from, to: to, contents: contents, on: loop)
        } catch {
            throw Self.failure(error)
        }
    }

    private static func failure(_ error: QueueError) -> Failure {
        let reply =
            switch error {
            case .full: Reply(452, EnhancedStatus(4, 3, 1), "no room in the queue")
            case .damaged(let reason): Reply(554, EnhancedStatus(5, 6, 0), reason)
            case .closing: Reply(421, EnhancedStatus(4, 3, 2), "shutting down")
            case .broken, .locked: Reply(451, EnhancedStatus(4, 3, 0), "the queue cannot be used now")
            }
        return Failure(.message, at: .body, reply)
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

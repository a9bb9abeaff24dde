// EventPost.swift — events on their way out, as the wiring holds it: webhooks and those who follow, over the history.

import Admin
import Chronicle
import Config
import DNS
import Departure
import Files
import HTTPClient
import History
import JSON
import Log
import Loop
import Mail
import NIOCore
import NIOPosix
import Synchronization
import Webhooks

/// The sender of webhooks with its threads, which begin with the first receiver.
final class EventPost: Sendable {
    /// Threads for requests that are out; one receiver holds few of them (`WebQueue`).
    private static let webThreads = 16
    /// Milliseconds that the end waits for requests that are out, so that few come twice.
    private static let patience: Int64 = 3000

    private struct State: Sendable {
        var sender: WebhookSender?
        var feed: EventFeed?
        var file: EventFile?
        var isStarted = false
    }

    private let courier: Courier
    private let loop: any EventLoop
    private let log: LogSink
    private let desk = NIOThreadPool(numberOfThreads: 1)
    private let shelf = NIOThreadPool(numberOfThreads: 1)
    private let web = NIOThreadPool(numberOfThreads: webThreads)
    private let state = Mutex(State())

    init(resolver: InForce<any DNS.Resolver>, loop: any EventLoop, log: LogSink) {
        courier = Courier(WebFetch(HTTPClient(), on: web, count: Self.webThreads), resolver: resolver)
        (self.loop, self.log) = (loop, log)
    }

    private var sender: WebhookSender? { state.withLock { $0.sender } }

    /// For those who follow; nil: no events are kept.
    var feed: EventFeed? { state.withLock { $0.feed } }

    /// Begins, once it is known where events are.
    ///
    /// - Parameters:
    ///   - reader: nil: none are kept, and nobody hears of any.
    ///   - data: the data directory.
    func start(_ reader: (any EventReader)?, _ settings: EventSettings, data: String) {
        guard let reader else { return }
        if let path = settings.file {
            let place = path.starts(withOctets: "/") ? path : "\(data)/\(path)"
            let options = EventFile.Options(path: place, bytes: settings.fileBytes, count: settings.fileCount)
            let file = EventFile(options, of: reader, on: LinuxDisk(), thread: shelf, log: log)
            shelf.start()
            file.start()
            state.withLock { $0.file = file }
        }
        let parts = WebhookSender.Parts(events: reader, courier: courier, threads: desk, loop: loop, log: log)
        state.withLock { ($0.sender, $0.feed) = (WebhookSender(parts), EventFeed(reader)) }
        apply(settings)
    }

    /// The receivers are these from now on.
    func apply(_ settings: EventSettings) {
        guard let sender else { return }
        let mustStart = state.withLock { state in
            guard !state.isStarted, !settings.webhooks.endpoints.isEmpty else { return false }
            state.isStarted = true
            return true
        }
        if mustStart {
            desk.start()
            web.start()
        }
        sender.apply(settings.webhooks)
        if mustStart { sender.start() }
    }

    /// Once a second: what watchers see of receivers that are behind.
    func tick() {
        sender?.showAll()
        state.withLock { $0.file }?.tick()
    }

    /// Nothing more is sent, streams end, and what is out comes back.
    func stop() async {
        feed?.close()
        await sender?.stop(patience: Self.patience)
        state.withLock { $0.file }?.stop()
    }
}

extension EventPost: WebhookControl {
    func status(_ name: String) -> JSON? { sender?.status(name) }
    func deliveries(_ name: String, atMost limit: Int) -> [JSON]? { sender?.deliveries(name, atMost: limit) }
    func test(_ name: String) async -> JSON? { await sender?.test(name) }
    func enable(_ name: String) -> Bool { sender?.enable(name) ?? false }
    func forget(_ name: String) { sender?.forget(name) }

    func replay(_ name: String, _ range: ReplayRange) throws(ReplayRefusal) -> ClosedRange<UInt64> {
        guard let sender else { throw .empty }
        let numbers: ClosedRange<UInt64>?
        switch range {
        case .numbers(let given): numbers = given
        case .times(let from, let to):
            do throws(HistoryError) {
                numbers = try sender.numbers(from: from, to: to)
            } catch { throw .unreadable("\(error)") }
        }
        guard let numbers else { throw .empty }
        switch sender.replay(name, numbers) {
        case .begun(let kept): return kept
        case .empty: throw .empty
        case .refused: throw .tooMany
        }
    }
}

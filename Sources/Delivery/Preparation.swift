// Preparation.swift — asks plugins (`send_email`, `get_mx`) about a parcel before it enters the lane of its next hop.
//
// Only where some plugin wants it; otherwise parcels enter their lanes directly and nothing here runs. Guarantees: a parcel
// is asked about by one task at a time and given back exactly once; at most so many at once (the scheduler counts), each
// domain in its turn; every call has an end (`plugin_timeout`).

import Departure
import Hooks
import Log
import Mail
import NIOCore
import NIOPosix
import Queue
import Storage
import Synchronization

/// Prepares parcels.
final class Preparation: Sendable {
    private let queue: MailQueue
    private let settler: Settler
    private let plugins: PluginChain
    private let loop: any EventLoop
    private let log: LogSink
    /// Some plugin wanted to be asked at some time, so parcels may wait in preparation lanes.
    private let wasUsed = Atomic<Bool>(false)
    private let isStopped = Atomic<Bool>(false)

    init(queue: MailQueue, settler: Settler, loop: any EventLoop, log: LogSink) {
        self.queue = queue
        self.settler = settler
        self.loop = loop
        self.log = log
        plugins = settler.plugins
    }

    /// Takes the parcels that may be asked about now.
    func look() {
        if !wasUsed.load(ordering: .relaxed) {
            guard plugins.asks(.preparation) else { return }
            wasUsed.store(true, ordering: .relaxed)
        }
        for parcel in queue.takeToPrepare(at: .now()) {
            Task { await prepare(parcel) }
        }
    }

    /// What is being asked now has no effect any more: the parcels are asked about again after the next start.
    func stop() { isStopped.store(true, ordering: .relaxed) }

    private func prepare(_ parcel: Parcel) async {
        guard let envelope = await envelope(of: parcel) else { return }
        let mail = HMail(parcel, envelope)
        if plugins.asks(.sendEmail), case .delay(let time) = await plugins.sendEmail(mail) {
            if !isStopped.load(ordering: .relaxed) { settler.postpone(parcel, by: time) }
            return
        }
        let ways = await askTheWay(mail)
        if isStopped.load(ordering: .relaxed) { return }
        if let reason = ways.values.lazy.compactMap(\.silence).first {
            return await settler.awaitProgram(parcel, envelope, reason)
        }
        let blocked = parcel.recipients.map { ways[envelope.recipients[Int($0)].address.domain]?.failure }
        if blocked.contains(where: { $0 != nil }) {
            return await settle(parcel, blocked)
        }
        queue.prepared(parcel, at: .now()) { index in
            let recipient = envelope.recipients[Int(index)].address
            let usual = self.queue.usualLane(of: recipient, envelope)
            guard case .use(let hosts) = ways[recipient.domain] else { return usual }
            return Lane(.chosen(hosts), from: usual.source, tls: usual.tls)
        }
    }

    /// Asks `get_mx` for every domain of a mail; there is more than one only where a route brought several together.
    private func askTheWay(_ mail: HMail) async -> [Domain: GetMXAnswer] {
        var ways: [Domain: GetMXAnswer] = [:]
        guard plugins.asks(.getMX) else { return ways }
        for recipient in mail.recipients {
            let domain = recipient.address.domain
            guard ways[domain] == nil else { continue }
            let part = mail.with(mail.recipients.filter { $0.address.domain == domain })
            ways[domain] = await plugins.getMX(part, domain: domain)
        }
        return ways
    }

    /// Some recipients have no way: they fail now, the others are asked about again at once.
    private func settle(_ parcel: Parcel, _ failures: [Failure?]) async {
        for assignment in await settler.load([parcel]) {
            let outcomes = failures.map { failure in
                failure.map { $0.reply.severity == .permanent ? Outcome.bounced($0) : .deferred($0) }
            }
            settler.settle(assignment, outcomes)
        }
    }

    private func envelope(of parcel: Parcel) async -> Envelope? {
        let id = parcel.id.message
        if let envelope = queue.residentEnvelope(of: id) { return envelope }
        let queue = self.queue
        let read: EventLoopFuture<Result<Envelope, QueueError>> = queue.disk.runIfActive(eventLoop: loop) {
            do throws(QueueError) { return .success(try queue.readEnvelope(of: id)) } catch { return .failure(error) }
        }
        switch (try? await read.get()) ?? .failure(.closing) {
        case .success(let envelope): return envelope
        case .failure(let error):
            if error != .closing { settler.unreadable(parcel, error) }
            return nil
        }
    }
}

extension GetMXAnswer {
    /// Why nobody knows the way at the moment; nil: somebody has answered.
    fileprivate var silence: String? {
        if case .tryLater(let reason, counts: false) = self { reason } else { nil }
    }
}

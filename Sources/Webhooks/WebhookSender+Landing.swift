// WebhookSender+Landing.swift — a request came back: what its answer means, what is kept of it, and who is told.

import Config
import History
import Log
import Mail
import Synchronization

extension WebhookSender {
    /// A request came back, or ended without an answer.
    func land(
        _ flight: EndpointLine.Flight,
        _ name: String,
        _ id: String,
        _ outcome: Courier.Outcome,
        since begin: Timestamp
    ) {
        let now = Timestamp.now()
        let landed = state.withLock { state -> (receiver: Receiver, step: WebhookStep, wasWell: Bool)? in
            guard var receiver = state.receivers[name] else { return nil }
            var terms = receiver.line.terms(of: flight)
            terms.isOrdered = receiver.endpoint.isOrdered
            terms.retryFirst = Int64(receiver.endpoint.retryFirst)
            terms.retryMax = Int64(receiver.endpoint.retryMax)
            let step = webhookStep(after: outcome.answer, terms)
            let wasWell = receiver.line.lastError == nil
            receiver.line.land(
                flight,
                step,
                error: Self.sentence(outcome),
                at: now,
                chance: Double.random(in: 0..<1)
            )
            let delivery = Delivery(
                at: begin,
                id: id,
                first: flight.first,
                last: flight.last,
                events: flight.events,
                attempt: terms.tries,
                milliseconds: outcome.milliseconds,
                answer: outcome.answer,
                step: step,
                words: outcome.words
            )
            receiver.deliveries.append(delivery)
            if receiver.deliveries.count > Self.mostDeliveries { receiver.deliveries.removeFirst() }
            state.receivers[name] = receiver
            WebhookMetrics.count(name, delivery.result)
            return (receiver, step, wasWell)
        }
        guard let landed else { return }
        save(name)
        show(name)
        report(name, landed.receiver, landed.step, wasWell: landed.wasWell, at: now)
        turn()
    }

    /// What is wrong, for `last_error`.
    static func sentence(_ outcome: Courier.Outcome) -> String {
        switch outcome.answer {
        case .status(let status, _):
            (300...399).contains(status) ? "answered \(status); redirects are not followed" : "answered \(status)"
        case .silence: outcome.words
        }
    }

    /// The numbers of every receiver, for those who watch.
    package func showAll() {
        for name in state.withLock({ Array($0.receivers.keys) }) { show(name) }
    }

    /// The numbers of a receiver, for those who watch.
    func show(_ name: String) {
        let newest = parts.events.span.newest
        guard let line = state.withLock({ $0.receivers[name]?.line }) else { return }
        WebhookMetrics.show(name, lag: line.lag(newest: newest), isDisabled: line.disabledReason != nil)
    }

    /// A line where something changed: the first failure, what is well again, and the end.
    private func report(_ name: String, _ receiver: Receiver, _ step: WebhookStep, wasWell: Bool, at now: Timestamp) {
        switch step {
        case .taken where !wasWell:
            parts.log.write(.notice, "a webhook takes events again") { $0.add(.subject, name) }
        case .waits where wasWell:
            tell("a webhook does not take events; they wait", name, receiver.line.lastError ?? "")
        case .dropped: tell("a webhook wants an event never", name, receiver.line.lastError ?? "")
        case .disabled:
            let reason = receiver.line.disabledReason ?? ""
            tell("a webhook is switched off, because its receiver says that it is gone", name, reason)
            var data = EventData()
            (data.subject, data.text) = (name, reason)
            do throws(HistoryError) {
                try parts.events.add(.webhookDisabled, data, at: now)
            } catch { tell("an event cannot be added", name, "\(error)") }
        case .taken, .waits, .divided: break
        }
    }
}

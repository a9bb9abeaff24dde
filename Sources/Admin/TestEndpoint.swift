// TestEndpoint.swift — `POST /v1/tests`: a real mail to one recipient, and each step of its way as it is taken.
//
// Guarantees: nothing is told of other mail than this, but of sessions to the same next hop; the answer ends with the attempt, with
// what keeps it from being made, or after a time; it takes no seat of the API while it goes on, and few go on at once. What becomes
// of the mail does not depend on whether somebody looks on.

import Config
import Glibc
import History
import JSON
import Mail
import Queue
import Synchronization

/// A mail whose steps are followed.
enum TestEndpoint {
    static let type = "application/x-ndjson"
    /// Seconds that are waited for the end.
    private static let usualWait = 60
    private static let longestWait = 600

    /// `POST /v1/tests`.
    static func send(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        let local = services.settings.current.local
        var body = try request.object()
        for member in ["from", "to", "subject", "text", "wait_s"] { try body.refuseNull(member) }
        let message = try SubmittedMessage(test: &body, here: local.isOn ? local.me : nil)
        let wait = try body.integer("wait_s", 1...longestWait) ?? usualWait
        try body.finish()
        // Looked at from before the mail is there, so that no step is missed.
        let board = services.queue.steps
        guard let start = board.watch() else {
            throw Problem(.tooMany, "as many tests as there may be are followed; try again in a moment")
        }
        let id: QueueID?
        do throws(Problem) { id = try SubmitEndpoint.accept(message, request, services).first } catch {
            board.leave()
            throw error
        }
        guard let id else {
            board.leave()
            throw Problem(.internalError, "the mail has no name")
        }
        let watch = Watch(services, id, after: start, milliseconds: Int64(wait) * 1000)
        return .following(type, headers: [HeaderField("Cache-Control", "no-cache")]) { _ in { watch.next() } }
    }

    /// One that is followed, on its connection's thread; given up with the answer.
    private final class Watch: Sendable {
        /// Milliseconds between two looks, and between signs of life.
        private static let look: Int64 = 50
        private static let heartbeat: Int64 = 10_000
        /// Reasons that end by themselves and soon.
        private static let passing: Set<WaitingReason.Code> = [.sessionSlot, .laneLimit, .totalLimit, .plugins]

        private let services: AdminServices
        private let id: QueueID
        private let end: Uptime
        private let place: Mutex<Place>

        private struct Place {
            var number: UInt64
            var lanes: Set<Lane> = []
            var isAccepted = false
            var isOver = false
            var reason = ""
            var last = Uptime.now()
        }

        init(_ services: AdminServices, _ id: QueueID, after number: UInt64, milliseconds: Int64) {
            (self.services, self.id) = (services, id)
            end = Uptime.now().adding(milliseconds: milliseconds)
            place = Mutex(Place(number: number))
        }

        deinit { services.queue.steps.leave() }

        /// The next lines, for which it waits; nil: it is over.
        func next() -> [UInt8]? {
            while true {
                let (lines, isOver) = place.withLock { place in (self.lines(&place), place.isOver) }
                if let lines { return lines }
                if isOver { return nil }
                usleep(UInt32(Self.look) * 1000)
            }
        }

        /// - Returns: nil when there is nothing to say.
        private func lines(_ place: inout Place) -> [UInt8]? {
            guard !place.isOver else { return nil }
            var lines: [JSON] = []
            if !place.isAccepted {
                place.isAccepted = true
                lines.append(["at": .string(Timestamp.now().rfc3339), "step": "accepted", "id": .string("\(id)")])
            }
            // Before the steps: what was done until now is among them.
            let report = (try? services.queue.show(id)) ?? nil
            for lane in report?.recipients.compactMap(\.lane) ?? [] { place.lanes.insert(lane) }
            let steps = services.queue.steps.steps(after: place.number)
            for step in steps where step.message == id { place.lanes.insert(step.lane) }
            for step in steps where step.message.map({ $0 == id }) ?? place.lanes.contains(step.lane) {
                lines.append(Self.view(step))
            }
            place.number = steps.last?.number ?? place.number
            if let ending = ending(report, &place) {
                place.isOver = true
                lines.append(ending)
            } else if let reason = report?.waitingBecause.first(where: { !Self.passing.contains($0.code) })?.text,
                reason != place.reason
            {
                place.reason = reason
                lines.append(Self.said("waiting", reason))
            }
            let now = Uptime.now()
            if lines.isEmpty {
                guard now.milliseconds - place.last.milliseconds >= Self.heartbeat else { return nil }
                place.last = now
                return [0x0A]
            }
            place.last = now
            var bytes: [UInt8] = []
            for line in lines {
                line.write(to: &bytes)
                bytes.append(0x0A)
            }
            return bytes
        }

        /// The last line, when there is nothing more to wait for.
        private func ending(_ report: MessageReport?, _ place: inout Place) -> JSON? {
            let now = Uptime.now()
            guard let report else { return gone(now) }
            // Switched off, held, paused, to be tried later: that does not end while somebody waits.
            let isMoving = report.waitingBecause.allSatisfy { Self.passing.contains($0.code) || $0.code == .limit }
            if !isMoving, let reason = report.waitingBecause.first(where: { !Self.passing.contains($0.code) }) {
                return Self.over("waiting", reason.text, reason.until)
            }
            guard now < end else { return Self.over("waiting", report.waitingBecause.first?.text ?? "", nil) }
            return nil
        }

        /// It has left the queue: what became of it.
        private func gone(_ now: Uptime) -> JSON? {
            let failed = services.queue.recentFailures.failures(of: id).first
            guard let book = services.history() else {
                return Self.over(failed == nil ? "gone" : RecipientStatus.bounced.rawValue, failed?.reply ?? "", nil)
            }
            let story = (try? book.story(of: id)) ?? nil
            // Told a moment later than done.
            guard let status = story?.fates.first?.status, status != .waiting, status != .deferred else {
                // `nil` alone would be a null of JSON beside another value.
                if now < end { return .none }
                return Self.over("gone", "", nil)
            }
            return Self.over(status.rawValue, failed?.reply ?? "", nil)
        }

        private static func view(_ step: StepBoard.Step) -> JSON {
            var json = said(step.kind.rawValue, step.text)
            json["at"] = .string(step.at.rfc3339)
            if !step.peer.isEmpty { json["peer"] = .string(step.peer) }
            if !step.milliseconds.isEmpty {
                json["stage_ms"] = .object(step.milliseconds.map { JSON.Member($0.name, .integer($0.milliseconds)) })
            }
            return json
        }

        private static func over(_ state: String, _ text: String, _ until: Timestamp?) -> JSON {
            var json = said("end", text)
            json["state"] = .string(state)
            if let until { json["until"] = .string(until.rfc3339) }
            return json
        }

        private static func said(_ step: String, _ text: String) -> JSON {
            var json: JSON = ["at": .string(Timestamp.now().rfc3339), "step": .string(step)]
            if !text.isEmpty { json["text"] = .string(text) }
            return json
        }
    }
}

// PumpThread.swift — the thread of the resolver: which question goes to which libunbound context, and when again.
//
// Guarantees: names whose servers are dead hold up no other question; a lost packet, a forwarder that is gone and a resolver
// that comes back cost a second or two; a question always ends.

import CUnbound
import Glibc
import Synchronization

/// The pump's inside; lives on its thread.
///
/// Each question goes to the context of the forwarder that is preferred. What stays without an answer for a second is
/// asked a second time in a spare context, which knows every forwarder: that mends a lost packet and a forwarder that is gone.
/// While nothing at all is answered, a new spare asks once a second for a name that was answered before: that tells dead
/// names from a dead resolver, and when it is back, what waits is asked anew.
final class PumpThread {
    private struct Flight {
        let question: UnboundPump.Question
        let launched: ContinuousClock.Instant
        var context: Int
        var isRepeated = false
        /// The first answer was a failure, and came at once.
        var hasFailed = false
        /// Every answer was a failure, and nobody else had a better one since.
        var parked: DNSError?
    }

    private let pump: UnboundPump
    private let wake: Int32
    private var contexts: [UnboundContext]
    private var spare: UnboundContext?
    /// When each context answered last.
    private var lastAnswers: [ContinuousClock.Instant]
    private var preferred = 0
    private var turns: LookupTurns
    private var open: [UInt64: UnboundPump.Question] = [:]
    private var flying: [UInt64: Flight] = [:]
    private var lastSweep = ContinuousClock.now
    private var lastAnswer = ContinuousClock.now
    /// A probe was not answered: the resolver is gone, and it is no name's fault.
    private var isAway = false
    private var probe: ContinuousClock.Instant?
    /// What was answered last: a resolver that is there answers it again.
    private var known = (name: ".", type: RecordType.soa)

    /// Deadlines are looked at this often.
    private static let tick: Duration = .milliseconds(100)
    /// Without an answer for so long, a question is repeated.
    private static let patience: Duration = .seconds(1)
    /// With more questions out than this none is repeated: it is the names, not the network.
    private static let mostRepeated = 64
    /// The number of a probe, which nobody waits for; questions are numbered from 1.
    private static let probeID: UInt64 = 0

    init(_ pump: UnboundPump, _ contexts: [UnboundContext], wake: Int32) {
        self.pump = pump
        self.contexts = contexts
        self.wake = wake
        lastAnswers = contexts.map { _ in .now }
        turns = LookupTurns(limit: pump.options.inFlight)
    }

    func run() {
        // Signals are for the main thread; libunbound's own threads inherit this.
        var all = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_BLOCK, &all, nil)
        while take() {
            launch()
            guard wait() else { break }
            sweep()
        }
        stop()
    }

    /// Takes what was asked and cancelled meanwhile; false when closed.
    private func take() -> Bool {
        let (asked, cancelled, isClosed, forgets) = pump.shared.withLock { shared in
            defer {
                shared.asked = []
                shared.cancelled = []
                shared.forgets = false
            }
            return (shared.asked, shared.cancelled, shared.isClosed, shared.forgets)
        }
        if forgets { forget() }
        let now = ContinuousClock.now
        for question in asked {
            open[question.id] = question
            turns.add(question.id, question.name, at: now)
        }
        for id in cancelled {
            let launched = flying[id]?.launched ?? now
            turns.cancelled(id, isResolverAlive: !isAway && lastAnswer > launched, at: now)
            finish(id, .failure(.serverFailure("cancelled")))
        }
        return !isClosed
    }

    /// Gives questions to libunbound, as many as may go now.
    private func launch() {
        let now = ContinuousClock.now
        while let id = turns.next(at: now) {
            guard let question = open[id] else {
                turns.end(id)
                continue
            }
            flying[id] = Flight(question: question, launched: now, context: preferred)
            ask(question, contexts[preferred])
        }
    }

    private func ask(_ question: UnboundPump.Question, _ context: UnboundContext) {
        do throws(DNSError) {
            context.cancel(question.id)
            try context.ask(question.id, question.name, question.type)
        } catch {
            turns.end(question.id)
            finish(question.id, .failure(error))
        }
    }

    /// Sleeps until there is something to do, and takes the answers; false when libunbound has broken down.
    private func wait() -> Bool {
        let asked = contexts + [spare].compactMap(\.self)
        var descriptors = ([wake] + asked.map(\.descriptor)).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        poll(&descriptors, nfds_t(descriptors.count), turns.isIdle ? -1 : 100)
        if descriptors[0].revents != 0 {
            var count = eventfd_t()
            eventfd_read(wake, &count)
        }
        for (index, context) in asked.enumerated() where descriptors[index + 1].revents != 0 {
            do throws(DNSError) {
                for answer in try context.process() { take(answer, from: index) }
            } catch {
                return false
            }
        }
        return true
    }

    /// - Parameter index: of the context; behind the last one is the spare.
    private func take(_ answer: UnboundContext.Finished, from index: Int) {
        let now = ContinuousClock.now
        if answer.id == Self.probeID {
            guard answer.result.isAnswer else { return }
            (probe, lastAnswer) = (nil, now)
            return isHeard(at: now)
        }
        guard let flight = flying[answer.id] else { return }
        let isSpare = index >= contexts.count
        if case .failure(.serverFailure) = answer.result {
            // The spare gives up early, and says the same as for a server that fails: the first one's word counts.
            if isSpare, !flight.hasFailed { return }
            if !isSpare, !flight.hasFailed, now - flight.launched < Self.patience {
                // libunbound may not even have asked: to it, many dead domains look like a dead forwarder.
                flying[answer.id]?.hasFailed = true
                return repeatOne(flight)
            }
        } else {
            (lastAnswer, probe) = (now, nil)
            known = (flight.question.name, flight.question.type)
            if !isSpare { lastAnswers[index] = now }
            if isSpare, lastAnswers[preferred] < flight.launched { preferred = (preferred + 1) % contexts.count }
        }
        if case .failure(let error) = answer.result, !answer.result.isAnswer, lastAnswer < flight.launched {
            // Nobody was answered meanwhile: whether it is the name or the resolver, a probe will tell.
            flying[answer.id]?.parked = error
            return
        }
        turns.answered(answer.id, at: now)
        finish(answer.id, answer.result)
        if answer.result.isAnswer { isHeard(at: now) }
    }

    /// The resolver is there: an answer came that is one.
    ///
    /// What it did not hear is asked in a context that waits for nothing, and what had failed while it was there has failed.
    private func isHeard(at now: ContinuousClock.Instant) {
        if isAway {
            isAway = false
            return repeatNewest()
        }
        for flight in flying.values {
            guard let error = flight.parked else { continue }
            turns.answered(flight.question.id, at: now)
            finish(flight.question.id, .failure(error))
        }
    }

    /// Ends what is past its deadline, and repeats what may have got lost.
    private func sweep() {
        let now = ContinuousClock.now
        guard now - lastSweep >= Self.tick else { return }
        lastSweep = now
        for question in open.values where question.deadline <= now {
            let asked = question.deadline - pump.options.timeout
            turns.gaveUp(question.id, isResolverAlive: !isAway && lastAnswer > asked, at: now)
            finish(question.id, .failure(.timedOut))
        }
        let late = flying.values.filter { now - $0.launched >= Self.patience }
        guard !late.isEmpty else { return }
        if now - lastAnswer >= Self.patience { sendProbe(at: now) }
        if !isAway, flying.count <= Self.mostRepeated {
            for flight in late where !flight.isRepeated { repeatOne(flight) }
        }
    }

    /// While nothing is answered: asks once a second for what was answered last, in a context that remembers nothing.
    private func sendProbe(at now: ContinuousClock.Instant) {
        if let probe {
            guard now - probe >= Self.patience else { return }
            isAway = true
        }
        probe = now
        renewSpare()
        try? spare?.ask(Self.probeID, known.name, known.type)
    }

    private func renewSpare() {
        spare = try? UnboundContext(pump.options, .everyForwarder)
        // Those whose last word the old one had.
        for flight in flying.values where flight.hasFailed { repeatOne(flight) }
    }

    private func repeatOne(_ flight: Flight) {
        if spare == nil { spare = try? UnboundContext(pump.options, .everyForwarder) }
        guard let spare else { return }
        flying[flight.question.id]?.isRepeated = true
        flying[flight.question.id]?.parked = nil
        ask(flight.question, spare)
    }

    private func repeatNewest() {
        renewSpare()
        let newest = flying.values.sorted { $0.launched > $1.launched }.prefix(Self.mostRepeated)
        for flight in newest where !flight.hasFailed { repeatOne(flight) }
    }

    /// Answers and failures that are remembered count no more.
    private func forget() {
        turns.forget()
        spare = nil
        guard let made = try? UnboundContext.all(pump.options), made.count == contexts.count else { return }
        contexts = made
        for flight in flying.values { ask(flight.question, contexts[flight.context]) }
    }

    private func finish(_ id: UInt64, _ result: Result<RawAnswer, DNSError>) {
        guard let question = open.removeValue(forKey: id) else { return }
        if let flight = flying.removeValue(forKey: id) {
            // Does nothing in the one that answered.
            contexts[flight.context].cancel(id)
            spare?.cancel(id)
        }
        pump.shared.withLock { _ = $0.open.remove(id) }
        question.continuation.resume(returning: result)
    }

    private func stop() {
        let late = pump.shared.withLock { shared in
            shared.isClosed = true
            shared.wake = -1
            defer { shared.asked = [] }
            return shared.asked
        }
        close(wake)
        for question in late { open[question.id] = question }
        for id in Array(open.keys) { finish(id, .failure(.serverFailure("the resolver has stopped"))) }
    }
}

extension Result where Success == RawAnswer, Failure == DNSError {
    /// Somebody answered, for better or worse; a failure may be libunbound's own.
    fileprivate var isAnswer: Bool {
        if case .failure(.serverFailure) = self { false } else { true }
    }
}

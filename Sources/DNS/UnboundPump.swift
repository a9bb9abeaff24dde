// UnboundPump.swift — the thread that owns the libunbound context: takes questions in, brings answers back.
//
// Everything of libunbound happens on this one thread, woken by a new question, by libunbound, or for a deadline.
// A question always ends: with an answer, at its deadline, by cancellation, or when the pump is closed.

import CUnbound
import Glibc
import Synchronization

/// The pump's outside: safe from any thread, never waits.
final class UnboundPump: Sendable {
    fileprivate struct Question: Sendable {
        let id: UInt64
        let name: String
        let type: RecordType
        let deadline: ContinuousClock.Instant
        let continuation: CheckedContinuation<Result<RawAnswer, DNSError>, Never>
    }

    fileprivate struct Shared {
        var lastID: UInt64 = 0
        /// Asked and not yet seen by the thread.
        var asked: [Question] = []
        /// Cancelled and not yet seen by the thread.
        var cancelled: [UInt64] = []
        /// Everything without an answer, seen or not.
        var open: Set<UInt64> = []
        /// Cancelled before they were asked.
        var cancelledEarly: Set<UInt64> = []
        var isClosed = false
        /// An eventfd; -1 once the thread is gone.
        var wake: Int32
    }

    fileprivate let options: UnboundResolver.Options
    fileprivate let shared: Mutex<Shared>

    private init(_ options: UnboundResolver.Options, wake: Int32) {
        self.options = options
        shared = Mutex(Shared(wake: wake))
    }

    /// Makes the context, so that wrong options show at once, and starts the thread.
    static func start(_ options: UnboundResolver.Options) throws(DNSError) -> UnboundPump {
        let context = try UnboundContext(options)
        let wake = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard wake >= 0 else { throw .serverFailure("no descriptor for the resolver") }
        let pump = UnboundPump(options, wake: wake)
        let thread = Unmanaged.passRetained(PumpThread(pump, context, wake: wake))
        var handle = pthread_t()
        let code = pthread_create(
            &handle,
            nil,
            { argument in
                if let argument { Unmanaged<PumpThread>.fromOpaque(argument).takeRetainedValue().run() }
                return nil
            },
            thread.toOpaque()
        )
        guard code == 0 else {
            thread.release()
            Glibc.close(wake)
            throw .serverFailure("no thread for the resolver")
        }
        pthread_detach(handle)
        return pump
    }

    /// Asks for the records of a name.
    func ask(_ name: String, _ type: RecordType) async -> Result<RawAnswer, DNSError> {
        let id = shared.withLock { shared in
            shared.lastID += 1
            return shared.lastID
        }
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let question = Question(
                    id: id,
                    name: name,
                    type: type,
                    deadline: .now + options.timeout,
                    continuation: continuation
                )
                if let refusal = add(question) { continuation.resume(returning: .failure(refusal)) }
            }
        } onCancel: {
            shared.withLock { shared in
                if shared.open.contains(id) {
                    shared.cancelled.append(id)
                    Self.wake(shared)
                } else {
                    shared.cancelledEarly.insert(id)
                }
            }
        }
        // From here on the cancellation handler cannot run any more.
        shared.withLock { _ = $0.cancelledEarly.remove(id) }
        return result
    }

    /// Lets open questions fail and the thread end.
    func close() {
        shared.withLock { shared in
            shared.isClosed = true
            Self.wake(shared)
        }
    }

    private func add(_ question: Question) -> DNSError? {
        shared.withLock { shared in
            if shared.isClosed { return .serverFailure("the resolver has stopped") }
            if shared.cancelledEarly.contains(question.id) { return .serverFailure("cancelled") }
            if shared.open.count >= options.inFlight + options.waiting {
                return .serverFailure("too many lookups at once")
            }
            shared.open.insert(question.id)
            shared.asked.append(question)
            Self.wake(shared)
            return nil
        }
    }

    private static func wake(_ shared: Shared) {
        guard shared.wake >= 0 else { return }
        // Fails only when the counter is full, and then the thread is awake.
        eventfd_write(shared.wake, 1)
    }
}

/// The pump's inside; lives on its thread.
private final class PumpThread {
    private let pump: UnboundPump
    private let context: UnboundContext
    private let wake: Int32
    /// In the order of their deadlines.
    private var waiting: ArraySlice<UnboundPump.Question> = []
    private var flying: [UInt64: UnboundPump.Question] = [:]
    private var lastSweep = ContinuousClock.now

    /// Deadlines are looked at this often.
    private static let tick: Duration = .milliseconds(100)

    init(_ pump: UnboundPump, _ context: UnboundContext, wake: Int32) {
        self.pump = pump
        self.context = context
        self.wake = wake
    }

    func run() {
        // Signals are for the main thread; libunbound's own thread inherits this.
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
        let (asked, cancelled, isClosed) = pump.shared.withLock { shared in
            defer {
                shared.asked = []
                shared.cancelled = []
            }
            return (shared.asked, shared.cancelled, shared.isClosed)
        }
        waiting += asked
        for id in cancelled { finish(id, .failure(.serverFailure("cancelled"))) }
        return !isClosed
    }

    /// Gives questions to libunbound, as many as it may have.
    private func launch() {
        while flying.count < pump.options.inFlight, let question = waiting.popFirst() {
            flying[question.id] = question
            do throws(DNSError) {
                try context.ask(question.id, question.name, question.type)
            } catch {
                finish(question.id, .failure(error))
            }
        }
    }

    /// Sleeps until there is something to do, and takes the answers; false when libunbound has broken down.
    private func wait() -> Bool {
        var descriptors = [
            pollfd(fd: context.descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: wake, events: Int16(POLLIN), revents: 0),
        ]
        let isIdle = flying.isEmpty && waiting.isEmpty
        poll(&descriptors, 2, isIdle ? -1 : 100)
        if descriptors[1].revents != 0 {
            var count = eventfd_t()
            eventfd_read(wake, &count)
        }
        guard descriptors[0].revents != 0 else { return true }
        do throws(DNSError) {
            for answer in try context.process() { finish(answer.id, answer.result) }
            return true
        } catch {
            return false
        }
    }

    /// Ends what is past its deadline.
    private func sweep() {
        let now = ContinuousClock.now
        guard now - lastSweep >= Self.tick else { return }
        lastSweep = now
        for question in flying.values where question.deadline <= now { finish(question.id, .failure(.timedOut)) }
        while let question = waiting.first, question.deadline <= now { finish(question.id, .failure(.timedOut)) }
    }

    private func finish(_ id: UInt64, _ result: Result<RawAnswer, DNSError>) {
        let question: UnboundPump.Question
        if let found = flying.removeValue(forKey: id) {
            // Does nothing when this is the answer.
            context.cancel(id)
            question = found
        } else if let index = waiting.firstIndex(where: { $0.id == id }) {
            question = waiting.remove(at: index)
        } else {
            return
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
        waiting += late
        for id in flying.keys + waiting.map(\.id) { finish(id, .failure(.serverFailure("the resolver has stopped"))) }
    }
}

// UnboundPump.swift — takes questions to the thread that owns libunbound, and brings answers back.
//
// Everything of libunbound happens on one thread, woken by a new question, by libunbound, or for a deadline.
// A question always ends: with an answer, at its deadline, by cancellation, or when the pump is closed.

import CUnbound
import Glibc
import Synchronization

/// The pump's outside: safe from any thread, never waits.
final class UnboundPump: Sendable {
    struct Question: Sendable {
        let id: UInt64
        let name: String
        let type: RecordType
        let deadline: ContinuousClock.Instant
        let continuation: CheckedContinuation<Result<RawAnswer, DNSError>, Never>
    }

    struct Shared {
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
        /// What is remembered of answers and failures counts no more.
        var forgets = false
        /// An eventfd; -1 once the thread is gone.
        var wake: Int32
    }

    let options: UnboundResolver.Options
    let shared: Mutex<Shared>

    private init(_ options: UnboundResolver.Options, wake: Int32) {
        self.options = options
        shared = Mutex(Shared(wake: wake))
    }

    /// Makes the context, so that wrong options show at once, and starts the thread.
    static func start(_ options: UnboundResolver.Options) throws(DNSError) -> UnboundPump {
        let contexts = try UnboundContext.all(options)
        let wake = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard wake >= 0 else { throw .serverFailure("no descriptor for the resolver") }
        let pump = UnboundPump(options, wake: wake)
        let thread = Unmanaged.passRetained(PumpThread(pump, contexts, wake: wake))
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

    /// Everything is asked anew from now on: caches are emptied, and no name counts as slow.
    func forget() {
        shared.withLock { shared in
            shared.forgets = true
            Self.wake(shared)
        }
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

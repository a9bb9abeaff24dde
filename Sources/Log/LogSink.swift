// LogSink.swift — where every log line goes: appended to a buffer by whoever logs, written by one thread.
//
// Guarantees: a line is whole or absent; logging never blocks on the descriptor, so a closed, full or stopped reader of
// standard error cannot hold up mail. The buffer is bounded: beyond it lines are dropped, and a line says how many.

import Glibc
import Synchronization

/// The process's log.
///
/// One is made at start-up and handed to whoever logs.
package final class LogSink: Sendable {
    /// Bytes that may wait for the descriptor.
    package static let bufferLimit = 4 << 20
    /// Milliseconds between two writes under load; a line after a silence is written at once.
    private static let gathering: Int32 = 5
    /// A buffer that grew beyond this in a burst is given back.
    private static let keptCapacity = 256 << 10

    private struct State {
        var buffer: [UInt8] = []
        var clock = LogClock()
        var dropped = 0
        /// The writer sleeps until it is woken; otherwise it looks by itself within ``gathering``.
        var writerSleeps = false
        /// Bytes were taken out of `buffer` and are not written yet.
        var isWriting = false
        var isClosed = false
    }

    private let format: LogFormat
    /// Only with that format.
    private let postfix: PostfixFormat?
    /// Lines leave in Postfix's words.
    var isPostfix: Bool { postfix != nil }
    private let privacy: AddressPrivacy?
    private let descriptor: Int32
    /// A pipe to wake the writer: the end it reads, and ours.
    ///
    /// -1 when there were no descriptors left: then it looks by itself.
    private let wakeUp: (read: Int32, write: Int32)
    private let threshold: Atomic<UInt8>
    private let limit: Int
    private let state = Mutex(State())
    /// Address of room for the next line, of ``LogLine/lineLimit`` bytes, or 0: so much from the allocator costs as much as
    /// composing the line.
    private let spareRoom = Atomic<UInt>(0)

    /// Starts the writer thread.
    ///
    /// The descriptor stays the caller's and must outlive the sink.
    package init(
        descriptor: Int32 = STDERR_FILENO,
        format: LogFormat = .text,
        level: LogLevel = .notice,
        privacy: AddressPrivacy? = nil,
        limit: Int = LogSink.bufferLimit
    ) {
        self.format = format
        self.privacy = privacy
        postfix = format == .postfix ? PostfixFormat() : nil
        self.descriptor = descriptor
        self.limit = limit
        threshold = Atomic(level.rawValue)
        wakeUp = Self.makePipe()
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self)
        let started = pthread_create(
            &thread,
            nil,
            { context in
                if let context { Unmanaged<LogSink>.fromOpaque(context).takeRetainedValue().runWriter() }
                return nil
            },
            context.toOpaque()
        )
        if started == 0 { pthread_detach(thread) } else { context.release() }
    }

    deinit {
        takeRoom()?.deallocate()
        for end in [wakeUp.read, wakeUp.write] where end >= 0 { Glibc.close(end) }
    }

    /// The least important level that is written; may be changed at any time.
    package var level: LogLevel {
        get { LogLevel(rawValue: threshold.load(ordering: .relaxed)) ?? .notice }
        set { threshold.store(newValue.rawValue, ordering: .relaxed) }
    }

    /// Whether lines of this level are written; ask before preparing something costly.
    package func logs(_ level: LogLevel) -> Bool { level.rawValue >= threshold.load(ordering: .relaxed) }

    /// Writes one line.
    ///
    /// - Parameters:
    ///   - level: how loud it is.
    ///   - message: constant text; what varies goes into fields.
    ///   - fields: adds the fields in order, at once, on this thread; not called when the level is filtered out.
    package func write(_ level: LogLevel, _ message: StaticString, _ fields: (inout LogLine) -> Void = { _ in }) {
        guard logs(level) else { return }
        let text = UnsafeRawBufferPointer(start: message.utf8Start, count: message.utf8CodeUnitCount)
        compose(level, text, fields)
    }

    /// Waits until everything logged so far is written, but no longer than `patience` milliseconds: for shutdown.
    package func flush(patience: Int = 1000) {
        for _ in 0..<max(1, patience) {
            let isDone = state.withLock { state in
                signal(&state)
                return state.buffer.isEmpty && !state.isWriting && state.dropped == 0
            }
            if isDone { return }
            Self.sleep(milliseconds: 1)
        }
    }

    /// Writes what waits and ends the writer thread; later lines are dropped.
    package func close() {
        flush()
        state.withLock { state in
            state.isClosed = true
            signal(&state)
        }
    }

    // MARK: Producers

    /// Makes a line of a message that was found worth it.
    func compose(_ level: LogLevel, _ message: UnsafeRawBufferPointer, _ fields: (inout LogLine) -> Void) {
        let room = takeRoom() ?? UnsafeMutableRawPointer.allocate(byteCount: LogLine.lineLimit, alignment: 1)
        let bytes = UnsafeMutableRawBufferPointer(start: room, count: LogLine.lineLimit)
        var line = LogLine(into: bytes, format: format, privacy: privacy)
        let gap = line.begin(level, message)
        fields(&line)
        let count = line.end()
        append(bytes, count: count, timeAt: gap)
        keepRoom(room)
    }

    private func takeRoom() -> UnsafeMutableRawPointer? {
        UnsafeMutableRawPointer(bitPattern: spareRoom.exchange(0, ordering: .acquiring))
    }

    /// Threads that log at once bring a room each; one of them is kept.
    private func keepRoom(_ room: UnsafeMutableRawPointer) {
        let other = spareRoom.exchange(UInt(bitPattern: room), ordering: .acquiringAndReleasing)
        UnsafeMutableRawPointer(bitPattern: other)?.deallocate()
    }

    private func append(_ bytes: UnsafeMutableRawBufferPointer, count: Int, timeAt gap: Int) {
        state.withLock { state in
            guard !state.isClosed else { return }
            guard state.buffer.count + count <= limit else {
                state.dropped += 1
                return
            }
            var now = timespec()
            clock_gettime(CLOCK_REALTIME, &now)
            let window = UnsafeMutableRawBufferPointer(rebasing: bytes[gap..<gap + LogClock.width])
            state.clock.write(second: now.tv_sec, millisecond: now.tv_nsec / 1_000_000, to: window)
            state.buffer.append(contentsOf: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[..<count]))
            if state.writerSleeps { signal(&state) }
        }
    }

    private func signal(_ state: inout State) {
        state.writerSleeps = false
        var mark: UInt8 = 0
        _ = Glibc.write(wakeUp.write, &mark, 1)
    }

    // MARK: The writer thread

    private func runWriter() {
        // A closed pipe must be an error to us and not a signal to the process; and signals belong to other threads.
        var all = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_BLOCK, &all, nil)
        var batch: [UInt8] = []
        while true {
            let (dropped, isClosed) = state.withLock { state in
                swap(&state.buffer, &batch)
                let dropped = state.dropped
                state.dropped = 0
                state.isWriting = !batch.isEmpty || dropped > 0
                state.writerSleeps = !state.isWriting
                return (dropped, state.isClosed)
            }
            if batch.isEmpty, dropped == 0 {
                if isClosed { return }
                pause(milliseconds: -1)
                continue
            }
            emit(batch)
            if dropped > 0 { emit(dropLine(dropped)) }
            if batch.capacity > Self.keptCapacity { batch = [] } else { batch.removeAll(keepingCapacity: true) }
            state.withLock { state in state.isWriting = false }
            pause(milliseconds: Self.gathering)
        }
    }

    /// Sleeps until woken, or for so many milliseconds; -1 is forever.
    private func pause(milliseconds: Int32) {
        guard wakeUp.read >= 0 else { return Self.sleep(milliseconds: Int(Self.gathering)) }
        var descriptor = pollfd(fd: wakeUp.read, events: Int16(POLLIN), revents: 0)
        guard poll(&descriptor, 1, milliseconds) > 0 else { return }
        var marks: (UInt64, UInt64) = (0, 0)
        _ = Glibc.read(wakeUp.read, &marks, MemoryLayout.size(ofValue: marks))
    }

    /// Writes everything, or gives up on a descriptor that will not take it: there is nobody left to tell.
    private func emit(_ batch: [UInt8]) {
        let batch = postfix?.translate(batch) ?? batch
        batch.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if count > 0 {
                    rest = rest.dropFirst(count)
                } else if errno == EAGAIN {
                    var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    _ = poll(&ready, 1, 1000)
                } else if errno != EINTR {
                    return
                }
            }
        }
    }

    private func dropLine(_ dropped: Int) -> [UInt8] {
        let text: StaticString = "log lines dropped"
        return [UInt8](unsafeUninitializedCapacity: LogLine.lineLimit) { buffer, count in
            let bytes = UnsafeMutableRawBufferPointer(buffer)
            var line = LogLine(into: bytes, format: format)
            let message = UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
            let gap = line.begin(.warning, message)
            line.add(.count, dropped)
            count = line.end()
            var now = timespec()
            clock_gettime(CLOCK_REALTIME, &now)
            var clock = LogClock()
            let window = UnsafeMutableRawBufferPointer(rebasing: bytes[gap..<gap + LogClock.width])
            clock.write(second: now.tv_sec, millisecond: now.tv_nsec / 1_000_000, to: window)
        }
    }

    private static func makePipe() -> (read: Int32, write: Int32) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return (-1, -1) }
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
        return (ends[0], ends[1])
    }

    private static func sleep(milliseconds: Int) {
        var span = timespec(tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000)
        nanosleep(&span, nil)
    }
}

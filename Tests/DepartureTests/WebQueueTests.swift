// WebQueueTests.swift — servers that hang hold up no one else's policies and tokens.

import HTTPClient
import Synchronization
import Testing

@testable import Departure

struct WebQueueTests {
    /// Threads that hold what they are told to hold, until it is let go.
    private final class Threads: Sendable {
        private let held = Mutex<[(url: String, done: WebQueue.Done)]>([])
        private let most = Mutex<[String: Int]>([:])

        func launch(_ request: HTTPRequest, _ done: @escaping WebQueue.Done) {
            guard request.url.contains("hang") else {
                return done(.success(HTTPResponse(status: 200, headers: [], body: [])))
            }
            let count = held.withLock { held in
                held.append((request.url, done))
                return held.count { $0.url == request.url }
            }
            most.withLock { $0[request.url] = max($0[request.url] ?? 0, count) }
        }

        func most(at url: String) -> Int { most.withLock { $0[url] ?? 0 } }
        var count: Int { held.withLock { $0.count } }

        func letGo() {
            let all = held.withLock { held in
                defer { held = [] }
                return held
            }
            for one in all { one.done(.failure(HTTPError(.timedOut, "hung"))) }
        }
    }

    private func status(_ result: Result<HTTPResponse, HTTPError>) -> Int { (try? result.get())?.status ?? 0 }

    /// Sends requests that hang, looks on, and lets all of them go.
    private func hanging(
        _ urls: [String],
        _ queue: WebQueue,
        _ threads: Threads,
        atLeast count: Int,
        _ look: () async -> Void
    ) async {
        await withTaskGroup(of: Bool.self) { group in
            for url in urls {
                group.addTask {
                    _ = await queue.send(HTTPRequest("GET", url))
                    return true
                }
            }
            while threads.count < count { await Task.yield() }
            await look()
            let ended = Mutex(false)
            group.addTask {
                while !ended.withLock({ $0 }) {
                    threads.letGo()
                    await Task.yield()
                }
                return false
            }
            for _ in urls { _ = await group.next() }
            ended.withLock { $0 = true }
        }
    }

    @Test func hangingServersLeaveRoomForOthers() async {
        let threads = Threads()
        let queue = WebQueue(limit: 8) { threads.launch($0, $1) }
        await hanging((0..<24).map { "https://hang\($0).test/" }, queue, threads, atLeast: 2) {
            #expect(threads.count < 8)
            #expect(status(await queue.send(HTTPRequest("GET", "https://good.test/"))) == 200)
        }
    }

    @Test func oneHostHoldsFewThreads() async {
        let threads = Threads()
        let queue = WebQueue(limit: 64) { threads.launch($0, $1) }
        let urls = [String](repeating: "https://hang.test/token", count: 20)
        await hanging(urls, queue, threads, atLeast: WebQueue.mostPerHost) {
            #expect(status(await queue.send(HTTPRequest("GET", "https://good.test/"))) == 200)
        }
        #expect(threads.most(at: urls[0]) == WebQueue.mostPerHost)
    }

    @Test func whatWaitsTooLongFails() async {
        let threads = Threads()
        let queue = WebQueue(limit: 1) { threads.launch($0, $1) }
        async let first = queue.send(HTTPRequest("GET", "https://hang.test/"))
        while threads.count < 1 { await Task.yield() }
        var request = HTTPRequest("GET", "https://good.test/")
        request.timeout = .milliseconds(50)
        guard case .failure(let error) = await queue.send(request) else { return #expect(Bool(false)) }
        #expect(error.kind == .timedOut)
        threads.letGo()
        #expect(status(await first) == 0)
    }
}

// HookPrograms.swift — the programs of `hooks.ini` now; a section that did not change keeps its breaker.

package import Config
import HTTPClient
package import Log
import Synchronization

/// Makes plugins of sections.
package final class HookPrograms: Sendable {
    private struct Known: Sendable {
        var programs: [String: HookProgram] = [:]
    }

    private let client = HTTPClient()
    private let threads: BlockingThreads
    private let log: LogSink
    private let known = Mutex(Known())

    /// - Parameter threads: for calls that block.
    package init(threads: BlockingThreads, log: LogSink) {
        self.threads = threads
        self.log = log
    }

    /// The programs in the order of the file.
    package func programs(of settings: HookSettings) -> [HookProgram] {
        known.withLock { known in
            let programs = settings.endpoints.map { endpoint in
                if let kept = known.programs[endpoint.name], kept.endpoint == endpoint { return kept }
                return HookProgram(endpoint, client: client, threads: threads, log: log)
            }
            known.programs = Dictionary(programs.map { ($0.name, $0) }) { first, _ in first }
            return programs
        }
    }
}

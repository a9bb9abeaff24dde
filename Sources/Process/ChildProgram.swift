// ChildProgram.swift — runs another program and waits for its end, for a bounded time.
//
// Guarantees: no shell; the program has no file of ours open but standard error, which is its output too; it gets the signals that we
// block; one that does not end is killed.

import CProcess
import Glibc

/// A program of the administrator's.
package enum ChildProgram {
    /// What became of it.
    package enum End: Hashable, Sendable {
        case exited(Int32)
        case killed
        /// It did not begin: the word of errno.
        case failed(String)
    }

    /// Microseconds between two looks.
    private static let look: UInt32 = 20_000

    /// Runs it and waits; blocks.
    ///
    /// - Parameters:
    ///   - path: of the program; there is no search for it.
    ///   - seconds: that it may take.
    package static func run(_ path: String, _ arguments: [String], seconds: Int) -> End {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        guard posix_spawn_file_actions_init(&actions) == 0 else { return .failed("no memory") }
        defer { posix_spawn_file_actions_destroy(&actions) }
        guard posix_spawnattr_init(&attributes) == 0 else { return .failed("no memory") }
        defer { posix_spawnattr_destroy(&attributes) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, 2, 1)
        martlet_close_from(&actions, 3)
        var (none, all) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var words: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var child: pid_t = 0
        let code = posix_spawn(&child, path, &actions, &attributes, &words, martlet_environment())
        guard code == 0 else { return .failed(String(cString: strerror(code))) }
        return wait(for: child, seconds: seconds)
    }

    private static func wait(for child: pid_t, seconds: Int) -> End {
        let end = ContinuousClock.now + .seconds(seconds)
        var status: Int32 = 0
        while true {
            let found = waitpid(child, &status, WNOHANG)
            // Somebody else has taken it: nothing more is known.
            if found < 0, errno != EINTR { return .failed(String(cString: strerror(errno))) }
            if found == child { break }
            if ContinuousClock.now >= end {
                kill(child, SIGKILL)
                waitpid(child, &status, 0)
                return .killed
            }
            usleep(look)
        }
        return status & 0x7F == 0 ? .exited(status >> 8 & 0xFF) : .killed
    }
}

// Privileges.swift — from root to a user of our own: after the sockets are bound, before anything else is done.
//
// Guarantees: once dropped, root cannot be had back; every thread is meant, because glibc changes them all; and no core
// file is ever written, because memory holds passwords and keys.

import Config
import Files
import Glibc
import Log

/// Who the relay runs as.
struct Account {
    let name: String
    let user: uid_t
    let group: gid_t

    /// - Throws: when the machine has no such user or group.
    init(user name: String, group: String?) throws {
        guard let entry = getpwnam(name)?.pointee else {
            throw CommandFailure("there is no user \(name) on this machine; see [main] user in smtp.ini")
        }
        self.name = name
        user = entry.pw_uid
        if let group {
            guard let found = getgrnam(group)?.pointee else {
                throw CommandFailure("there is no group \(group) on this machine; see [main] group in smtp.ini")
            }
            self.group = found.gr_gid
        } else {
            self.group = entry.pw_gid
        }
        guard user != 0 else { throw CommandFailure("[main] user is root; name a user of the relay's own") }
    }
}

/// Giving rights up.
enum Privileges {
    /// Sees to it that no core file is written.
    ///
    /// One byte and not none: none would still let the kernel hand a core to a program.
    static func forbidCores() {
        var limit = rlimit(rlim_cur: 1, rlim_max: 1)
        let resource = __rlimit_resource_t(RLIMIT_CORE.rawValue)
        guard setrlimit(resource, &limit) != 0 else { return }
        limit = rlimit(rlim_cur: 0, rlim_max: 0)
        _ = setrlimit(resource, &limit)
    }

    /// The account of the settings, if root is to become somebody.
    ///
    /// - Returns: nil when we go on as who we are.
    /// - Throws: when we are told to be somebody that we are not and cannot become.
    static func account(_ settings: ListenerSettings, user: String?, _ log: LogSink) throws -> Account? {
        guard let name = user ?? settings.user else {
            if geteuid() == 0 {
                log.write(.warning, "running as root") {
                    $0.add(.reason, "name an unprivileged one: [main] user, or serve --user")
                }
            }
            return nil
        }
        let account = try Account(user: name, group: settings.group)
        if account.user == geteuid() { return nil }
        guard geteuid() == 0 else {
            throw CommandFailure("only root can become \(name); start martlet as root or as \(name)")
        }
        return account
    }

    /// Becomes the account for good.
    ///
    /// - Throws: when any step fails, or root could be had back; then nothing may be started.
    static func drop(to account: Account, dataPath: String) throws {
        try giveDirectory(dataPath, to: account)
        // Of root, these set the real, the effective and the saved identity at once.
        guard initgroups(account.name, account.group) == 0, setgid(account.group) == 0, setuid(account.user) == 0 else {
            throw CommandFailure("cannot become \(account.name): \(String(cString: strerror(errno)))")
        }
        guard geteuid() == account.user, getuid() == account.user, getegid() == account.group, setuid(0) != 0 else {
            throw CommandFailure("root was not given up")
        }
        guard access(dataPath, R_OK | W_OK | X_OK) == 0 else {
            throw CommandFailure("\(account.name) may not use \(dataPath); run: chown -R \(account.name) \(dataPath)")
        }
    }

    /// Makes the data directory when it is missing, and gives it to the account while it is empty.
    private static func giveDirectory(_ path: String, to account: Account) throws(DiskError) {
        let disk = LinuxDisk()
        try disk.makeDirectories(path, permissions: 0o700)
        guard try disk.list(path).isEmpty else { return }
        let directory = try disk.open(path, .following, permissions: 0)
        var status = try directory.status()
        status.owner = account.user
        status.group = account.group
        try directory.takeOwnership(of: status)
    }
}

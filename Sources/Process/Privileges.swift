// Privileges.swift — from root to a user of our own: after the sockets are bound, before anything else is done.
//
// Guarantees: once dropped, root cannot be had back; every thread is meant, because glibc changes them all; and no core
// file is ever written, because memory holds passwords and keys.

import Glibc

/// Giving rights up.
package enum Privileges {
    /// Whether there is anything to give up.
    package static var isRoot: Bool { geteuid() == 0 }

    /// Sees to it that no core file is written.
    ///
    /// One byte and not none: none would still let the kernel hand a core to a program.
    package static func forbidCores() {
        var limit = rlimit(rlim_cur: 1, rlim_max: 1)
        let resource = __rlimit_resource_t(RLIMIT_CORE.rawValue)
        guard setrlimit(resource, &limit) != 0 else { return }
        limit = rlimit(rlim_cur: 0, rlim_max: 0)
        _ = setrlimit(resource, &limit)
    }

    /// The account to become.
    ///
    /// - Returns: nil when we are that already.
    /// - Throws: when we cannot become it, or should not.
    package static func account(_ wanted: AccountName) throws(ProcessFailure) -> Account? {
        let account = try Account(wanted)
        if account.user == geteuid() { return nil }
        guard isRoot else {
            throw ProcessFailure("only root can become \(wanted.shownUser); start martlet as root or as that user")
        }
        return account
    }

    /// Why the relay should not become an account, were it started as root; nil when it may, and when this machine does not
    /// know the names: a configuration may be looked at elsewhere.
    package static func objection(to wanted: AccountName) -> ProcessFailure? {
        guard getpwnam(wanted.user) != nil, wanted.group.map({ getgrnam($0) != nil }) ?? true else { return nil }
        do throws(ProcessFailure) {
            _ = try Account(wanted)
            return nil
        } catch {
            return error
        }
    }

    /// Becomes the account for good.
    ///
    /// - Throws: when any step fails, or root could be had back; then nothing may be started.
    package static func drop(to account: Account, dataPath: String) throws(ProcessFailure) {
        // Of root, these set the real, the effective and the saved identity at once.
        guard initgroups(account.name, account.group) == 0, setgid(account.group) == 0, setuid(account.user) == 0 else {
            throw ProcessFailure("cannot become \(account.name): \(String(cString: strerror(errno)))")
        }
        guard geteuid() == account.user, getuid() == account.user, getegid() == account.group, setuid(0) != 0 else {
            throw ProcessFailure("root was not given up")
        }
        guard access(dataPath, R_OK | W_OK | X_OK) == 0 else {
            throw ProcessFailure("\(account.name) may not use \(dataPath); run: chown -R \(account.name) \(dataPath)")
        }
    }

    /// Gives a directory to the account while it is empty and still root's.
    ///
    /// By its descriptor, so that nothing else can be meant by its name in the meantime.
    package static func give(_ path: String, to account: Account) throws(ProcessFailure) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        var status = stat()
        guard descriptor >= 0, fstat(descriptor, &status) == 0 else {
            if descriptor >= 0 { close(descriptor) }
            throw ProcessFailure("\(path): \(String(cString: strerror(errno)))")
        }
        guard let stream = fdopendir(descriptor) else {
            close(descriptor)
            throw ProcessFailure("\(path): \(String(cString: strerror(errno)))")
        }
        defer { closedir(stream) }
        // `.` and `..` are always there.
        var count = 0
        while count <= 2, readdir(stream) != nil { count += 1 }
        guard count <= 2, status.st_uid == 0 else { return }
        guard fchown(descriptor, account.user, account.group) == 0 else {
            throw ProcessFailure("\(path): \(String(cString: strerror(errno)))")
        }
    }
}

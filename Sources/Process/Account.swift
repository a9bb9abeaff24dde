// Account.swift — who the relay runs as, and who it must not run as.
//
// Giving root up for an account that may read /etc/shadow, write to a disk or talk to a container engine would be giving
// up nothing. What an account may do is asked of the machine, and of the names that such groups have everywhere.

import Glibc

/// The names of a user and a group, and who said them.
package struct AccountName: Hashable, Sendable {
    package let user: String
    package let group: String?
    /// False when they were read as root from a file that the relay's user may be able to swap: then they are not repeated.
    package let mayBeShown: Bool

    package init(user: String, group: String?, mayBeShown: Bool) {
        self.user = user
        self.group = group
        self.mayBeShown = mayBeShown
    }

    var shownUser: String { mayBeShown ? user : "[main] user" }
    var shownGroup: String { mayBeShown ? group ?? "" : "[main] group" }
}

/// Who the relay runs as.
package struct Account: Hashable, Sendable {
    package let name: String
    let user: uid_t
    let group: gid_t

    /// - Throws: when the machine has no such user or group, or one of them is privileged.
    init(_ wanted: AccountName) throws(ProcessFailure) {
        guard let entry = getpwnam(wanted.user)?.pointee else {
            let called = wanted.mayBeShown ? "called \(wanted.user) " : ""
            throw ProcessFailure("there is no user \(called)on this machine; see [main] user in smtp.ini")
        }
        name = wanted.user
        user = entry.pw_uid
        if let group = wanted.group {
            guard let found = getgrnam(group)?.pointee else {
                let called = wanted.mayBeShown ? "called \(group) " : ""
                throw ProcessFailure("there is no group \(called)on this machine; see [main] group in smtp.ini")
            }
            self.group = found.gr_gid
        } else {
            group = entry.pw_gid
        }
        guard user != 0 else { throw ProcessFailure("[main] user is root; name a user of the relay's own") }
        // What initgroups(3) will take with it.
        for group in Self.groups(of: wanted.user, self.group) {
            guard let reason = PrivilegedGroup.reason(group, Self.name(of: group)) else { continue }
            let said = group == self.group && wanted.group != nil
            throw ProcessFailure(
                (said ? "[main] group is \(reason)" : "[main] user belongs to \(reason)")
                    + "; name a user and a group of the relay's own"
            )
        }
    }

    private static func groups(of user: String, _ first: gid_t) -> [gid_t] {
        var count: Int32 = 64
        while true {
            var found = [gid_t](repeating: 0, count: Int(count))
            let room = count
            if getgrouplist(user, first, &found, &count) >= 0 { return Array(found.prefix(Int(count))) }
            // It says how many there are.
            if count <= room { count = room * 2 }
        }
    }

    private static func name(of group: gid_t) -> String {
        getgrgid(group).map { String(cString: $0.pointee.gr_name) } ?? ""
    }
}

/// Groups whose members may do what only root should.
enum PrivilegedGroup {
    /// What a group of the name stands for on the machines that have it.
    private static let known: [String: String] = [
        "root": "the group of root",
        "wheel": "whose members may become root",
        "sudo": "whose members may become root",
        "admin": "whose members may become root",
        "shadow": "which may read everybody's password hashes",
        "disk": "which may read and write whole disks",
        "kmem": "which may read the memory of the machine",
        "mem": "which may read the memory of the machine",
        "docker": "which may become root through the container engine",
        "podman": "which may become root through the container engine",
        "lxd": "which may become root through the container engine",
        "incus": "which may become root through the container engine",
        "incus-admin": "which may become root through the container engine",
        "libvirt": "which may become root through virtual machines",
    ]

    /// Files and devices that only root and its closest should reach.
    private static let guarded = [
        "/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/dev/mem", "/dev/kmem", "/dev/port", "/run/docker.sock",
        "/var/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock",
    ]

    /// Why the relay must not have the group; nil when it may.
    ///
    /// - Parameter reaches: a guarded path that the group may read or write, if there is one.
    static func reason(
        _ group: gid_t,
        _ name: String,
        reaches: (gid_t) -> String? = PrivilegedGroup.reached
    ) -> String? {
        if group == 0 { return "the group of root" }
        if let known = known[name] { return "\(name), \(known)" }
        return reaches(group).map { "\(name.isEmpty ? "\(group)" : name), which may read \($0)" }
    }

    private static func reached(_ group: gid_t) -> String? {
        guarded.first { path in
            var status = stat()
            return stat(path, &status) == 0 && status.st_gid == group && status.st_mode & 0o060 != 0
        }
    }
}

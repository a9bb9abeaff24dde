// LinkTrust.swift — which symbolic links root follows to a file that it is about to write.
//
// A configuration directory may belong to the relay's user, so that the API can edit it. Whoever may write there can put a
// link in the place of a file, and a tool that root runs would write through it, anywhere. So root follows a link only
// when whoever made it could have written behind it anyway: a link of root's own, as in `..data` of Kubernetes, or one
// that belongs to the owner of what it leads to. For anybody else the system draws the line.

import Glibc

extension FileStatus {
    /// Whether `user` may follow this link to what stands behind it.
    ///
    /// - Parameter behind: nil when there is nothing.
    package func mayBeFollowed(to behind: FileStatus?, as user: UInt32) -> Bool {
        kind != .link || user != 0 || owner == 0 || owner == behind?.owner
    }
}

extension Disk {
    /// Refuses to write through links that root must not follow, in every part of the path.
    ///
    /// - Throws: ``DiskError`` for the first of them.
    func checkLinks(of path: String, as user: UInt32 = geteuid()) throws(DiskError) {
        guard user == 0 else { return }
        var index = path.utf8.startIndex
        while index < path.utf8.endIndex {
            let start = path.utf8.index(after: index)
            index = path.utf8[start...].firstIndex(of: UInt8(ascii: "/")) ?? path.utf8.endIndex
            let part = String(path[..<index])
            guard let found = try status(part, following: false) else { return }
            if found.kind == .link, !found.mayBeFollowed(to: try status(part, following: true), as: user) {
                throw DiskError(DiskError.follow, part, ELOOP)
            }
        }
    }
}

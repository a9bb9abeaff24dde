// Doctor+Machine.swift — this machine: who may relay, where the queue is kept, how long the certificate lasts, the clock.

import CTimex
import Config
import Departure
import Files
import Glibc
import Mail
import OpenSSL

extension Doctor {
    /// Free bytes below which a finding is bad.
    private static let leastFree = 200 << 20

    /// Who may send through us without a password: the question of open relays.
    static func relaying(_ patient: Patient) -> [Finding] {
        let networks = patient.settings.relayNetworks
        let isPublic = patient.settings.listener.plainPlaces.contains { !$0.ip.isLoopback }
        let hasUsers = !patient.settings.auth.users.isEmpty
        var findings: [Finding] = []
        for network in networks where network.prefix < (network.address.isV6 ? 16 : 8) {
            findings.append(
                Finding(
                    isPublic ? .bad : .odd,
                    "open relay",
                    "\(network) in relay_acl_allow lets half the world send",
                    "Name the networks of your own machines only."
                )
            )
        }
        if let gateway = gateway(), isPublic, networks.contains(where: { $0.contains(gateway) }) {
            findings.append(
                Finding(
                    .odd,
                    "open relay",
                    "the default gateway \(gateway) may relay: with a container engine everybody may come from there",
                    "Leave the gateway's address out of relay_acl_allow, or publish the port on loopback only."
                )
            )
        }
        guard findings.isEmpty else { return findings }
        if networks.isEmpty, !hasUsers {
            return [
                Finding(
                    .bad,
                    "relaying",
                    "nobody may send: relay_acl_allow is empty and there are no users",
                    "Write your networks into relay_acl_allow, or set MARTLET_ALLOW_NETWORKS, or add users with `martlet passwd`."
                )
            ]
        }
        let list = networks.prefix(8).map(\.description).joined(separator: ", ")
        return [Finding(.good, "relaying", "allowed: \(list)\(hasUsers ? " and users with a password" : "")")]
    }

    /// The default gateway of IPv4, out of /proc/net/route.
    private static func gateway() -> IPAddress? {
        guard let bytes = try? LinuxDisk().contents(of: "/proc/net/route", limit: 1 << 20) else { return nil }
        for line in String(decoding: bytes, as: UTF8.self).split(octet: "\n").dropFirst() {
            let words = line.split(octet: "\t")
            guard words.count > 3, words[1] == "00000000", let number = UInt32(words[2], radix: 16), number != 0 else {
                continue
            }
            // The kernel prints the four bytes as a number of the machine, the first one lowest.
            return IPAddress(bytes: (0..<4).map { UInt8(truncatingIfNeeded: number >> (8 * UInt32($0))) })
        }
        return nil
    }

    /// Whether the queue survives, and whether there is room for it.
    static func spool(_ patient: Patient) -> [Finding] {
        let path = patient.dataPath
        var system = statvfs()
        guard statvfs(path, &system) == 0 else {
            return [
                Finding(
                    .bad,
                    "queue",
                    "\(path): \(String(cString: strerror(errno)))",
                    "Make the directory for the user that runs the relay, or name another with --data."
                )
            ]
        }
        var findings: [Finding] = []
        if let kind = fileSystem(of: path), ["overlay", "tmpfs", "ramfs"].contains(kind) {
            findings.append(
                Finding(
                    .bad,
                    "queue",
                    "\(path) is on \(kind), which is gone with the container or the machine: accepted mail would be lost",
                    "Mount a volume at \(path)."
                )
            )
        } else {
            findings.append(Finding(.good, "queue", "\(path) is on a disk that stays"))
        }
        let room = Int(clamping: UInt64(system.f_bavail) &* UInt64(system.f_frsize))
        let isFull = room < leastFree || system.f_files > 0 && system.f_ffree < 1000
        findings.append(
            Finding(
                isFull ? .bad : .good,
                "room",
                "\(room >> 20) MiB and \(system.f_ffree) inodes free",
                "Make room: with a full disk mail is refused with 452."
            )
        )
        if access(path, W_OK) != 0 {
            findings.append(
                Finding(.odd, "queue", "this user may not write \(path)", "Run doctor as the user that runs the relay.")
            )
        }
        return findings
    }

    /// The kind of the file system that a path is on, by the mount point that is the longest beginning of it.
    private static func fileSystem(of path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        let path = String(cString: resolved)
        guard let bytes = try? LinuxDisk().contents(of: "/proc/self/mountinfo", limit: 4 << 20) else { return nil }
        var best = (length: -1, kind: "")
        for line in String(decoding: bytes, as: UTF8.self).split(octet: "\n") {
            let words = line.split(octet: " ")
            // characters: a whole word of a line of the kernel's
            guard words.count > 4, let dash = words.firstIndex(of: "-"), dash + 1 < words.count else { continue }
            let place = words[4]
            guard place == "/" || path == place || path.starts(withOctets: "\(place)/"), place.count >= best.length
            else {
                continue
            }
            best = (place.count, String(words[dash + 1]))
        }
        return best.length < 0 ? nil : best.kind
    }

    /// The certificate of `tls_cert.pem`.
    static func certificate(_ patient: Patient) -> [Finding] {
        let path = "\(patient.configPath)/tls_cert.pem"
        guard let pem = try? LinuxDisk().contents(of: path, limit: 1 << 20) else {
            let isPublic = patient.settings.listener.plainPlaces.contains { !$0.ip.isLoopback }
            return [
                Finding(
                    isPublic ? .odd : .skipped,
                    "certificate",
                    "there is none: clients cannot use STARTTLS",
                    "Put tls_cert.pem and tls_key.pem into \(patient.configPath), or make a pair with `martlet tls self-signed`."
                )
            ]
        }
        guard let end = CertificateDates.end(of: pem) else {
            return [
                Finding(.bad, "certificate", "\(path) is no certificate", "Write it in PEM form, the chain behind it.")
            ]
        }
        let days = (end - Int(Timestamp.now().milliseconds / 1000)) / 86_400
        if let trouble = renewalTrouble(patient) { return [trouble] }
        let state: Finding.State = days < 0 ? .bad : days < 14 ? .odd : .good
        return [
            Finding(
                state,
                "certificate",
                days < 0 ? "expired \(-days) days ago" : "good for \(days) days",
                "Renew it; the files are read again by themselves."
            )
        ]
    }

    /// The clock: signatures, certificates and retries go by it.
    ///
    /// Nobody else is asked: the kernel knows whether anything keeps its clock in time (ntp_adjtime(3)), also in a
    /// container, and a clock that has not reached the day this executable was written is wrong.
    static func clock() -> [Finding] {
        var file = stat()
        let now = Int(Timestamp.now().milliseconds / 1000)
        if stat("/proc/self/exe", &file) == 0, now < file.st_mtim.tv_sec {
            return [
                Finding(
                    .bad,
                    "clock",
                    "it is behind: this executable was written \((file.st_mtim.tv_sec - now) / 3600) h in its future",
                    "Set it, and keep it in time with systemd-timesyncd or chrony."
                )
            ]
        }
        var time = timex()
        switch ntp_adjtime(&time) {
        case -1: return [Finding(.skipped, "clock", "the kernel does not tell whether it is kept in time")]
        case TIME_ERROR:
            return [
                Finding(
                    .odd,
                    "clock",
                    "nothing keeps it in time",
                    "Run systemd-timesyncd or chrony on this machine; some virtual machines get the time otherwise."
                )
            ]
        default: return [Finding(.good, "clock", "it is kept in time, within \(max(1, time.maxerror / 1000)) ms")]
        }
    }
}

// Doctor+Names.swift — the names others judge us by: our own, the one of our address, SPF; and the resolver that says so.

import Config
import DNS
import Glibc
import Mail

extension Doctor {
    static func names(_ patient: Patient, _ resolver: UnboundResolver) async -> [Finding] {
        var findings = await resolution(patient, resolver)
        guard findings.allSatisfy({ $0.state != .bad }) else {
            return findings + [Finding(.skipped, "name", "without a resolver names cannot be examined")]
        }
        let ours = Sources.addresses()
        findings += await name(patient, resolver, ours)
        findings += await senderPolicy(patient, resolver, ours)

        return findings
    }

    /// Somebody answers, and validates when we asked for that.
    private static func resolution(_ patient: Patient, _ resolver: UnboundResolver) async -> [Finding] {
        let hasAnchor = patient.settings.resolver.trustAnchorFile != nil
        let subject = patient.probe == "none" ? patient.sender : "iana.org"
        guard let domain = Domain(subject) else { return [] }
        do throws(DNSError) {
            let answer = try await resolver.mailExchangers(of: domain)
            let good = Finding(.good, "resolver", "answers")
            if !hasAnchor {
                return [
                    good,
                    Finding(
                        .odd,
                        "DNSSEC",
                        "answers are not validated, so DANE is not used",
                        "Install dns-root-data and set trust_anchor_file = /usr/share/dns/root.key in resolver.ini."
                    ),
                ]
            }
            return [
                good,
                Finding(
                    answer.isSecure ? .good : .odd,
                    "DNSSEC",
                    answer.isSecure ? "\(subject) validates" : "\(subject) does not validate",
                    "The resolver in front strips signatures: ask another with forward in resolver.ini."
                ),
            ]
        } catch .noSuchName {
            return [Finding(.good, "resolver", "answers")]
        } catch {
            return [
                Finding(
                    .bad,
                    "resolver",
                    "\(error)",
                    "Look at /etc/resolv.conf, or name a resolver with forward in resolver.ini (MARTLET_DNS)."
                )
            ]
        }
    }

    /// `me` is known to the DNS, and our addresses lead back to it.
    private static func name(_ patient: Patient, _ resolver: UnboundResolver, _ ours: [IPAddress]) async -> [Finding] {
        let me = patient.settings.me
        guard me.name.contains(".") else {
            return [
                Finding(
                    .bad,
                    "name",
                    "\(me.name) has no domain; many servers refuse it",
                    "Write the full name into `me` (MARTLET_HOSTNAME)."
                )
            ]
        }
        var findings: [Finding] = []
        let known = (try? await resolver.addresses(of: me))?.value ?? []
        findings.append(
            known.isEmpty
                ? Finding(.bad, "name", "\(me.name) has no address", "Make an A record for it, and AAAA with IPv6.")
                : Finding(.good, "name", "\(me.name) is \(known.map(\.description).joined(separator: ", "))")
        )
        for address in known where !address.isLoopback {
            let back = Sources.name(of: address)
            let isRight = back?.lowercased() == me.name
            findings.append(
                Finding(
                    isRight ? .good : .bad,
                    "PTR",
                    back.map { "\(address) is called \($0)" } ?? "\(address) has no name",
                    "Have whoever gave you \(address) set its reverse name to \(me.name)."
                )
            )
            if !ours.contains(address), !ours.isEmpty {
                findings.append(
                    Finding(
                        .odd,
                        "address",
                        "\(address) is not an address of this machine, which sends from "
                            + ours.map(\.description).joined(separator: ", "),
                        "Fine behind a router that translates; else correct the record."
                    )
                )
            }
        }
        return findings
    }
}

/// What the system knows about addresses.
enum Sources {
    /// The address that this machine would send from, of each family that has a route; nothing is sent.
    static func addresses() -> [IPAddress] {
        ["192.0.2.1", "2001:db8::1"].compactMap { IPAddress($0) }.compactMap { Self.source(towards: $0) }
    }

    /// nil without a route.
    static func source(towards address: IPAddress) -> IPAddress? {
        let socket = Glibc.socket(address.isV6 ? AF_INET6 : AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        guard socket >= 0 else { return nil }
        defer { close(socket) }
        return SocketAddresses.with(address, port: 53) { target, size -> IPAddress? in
            guard connect(socket, target, size) == 0 else { return nil }
            var storage = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let isNamed = withUnsafeMutablePointer(to: &storage) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket, $0, &length) == 0 }
            }
            guard isNamed else { return nil }
            return withUnsafeBytes(of: &storage) { bytes in
                IPAddress(bytes: address.isV6 ? bytes[8..<24] : bytes[4..<8])
            }
        }
    }

    /// The reverse name, by the system's resolver.
    static func name(of address: IPAddress) -> String? {
        SocketAddresses.with(address, port: 0) { target, size in
            var name = [CChar](repeating: 0, count: 1025)
            guard getnameinfo(target, size, &name, 1025, nil, 0, NI_NAMEREQD) == 0 else { return nil }
            return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }
}

/// Addresses as system calls want them.
enum SocketAddresses {
    static func with<Result>(
        _ address: IPAddress,
        port: UInt16,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        var storage = sockaddr_storage()
        let size = address.isV6 ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size
        withUnsafeMutableBytes(of: &storage) { bytes in
            // sa_family, then the port in network order; the address behind it, and behind the flow label with IPv6.
            bytes.storeBytes(of: sa_family_t(address.isV6 ? AF_INET6 : AF_INET), as: sa_family_t.self)
            bytes.storeBytes(of: port.bigEndian, toByteOffset: 2, as: UInt16.self)
            for (index, byte) in address.bytes.enumerated() { bytes[(address.isV6 ? 8 : 4) + index] = byte }
        }
        return withUnsafePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(size)) }
        }
    }
}

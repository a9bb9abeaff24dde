// RouteNames.swift — what a name in `routes.ini` means: /etc/hosts first, then the DNS, short names in the domains of
// resolv.conf's `search`.
//
// Only for names that an administrator wrote: what the DNS says of a domain's mail is the DNS's alone, and no file of this
// machine sends mail for example.com elsewhere. What a file says is vouched for by nobody, as far as DNSSEC goes.

import Glibc
package import Mail
import Synchronization

/// Which rule found the addresses of a name.
package enum NameRule: Hashable, Sendable, CustomStringConvertible {
    /// It is an address.
    case literal
    /// A line of this hosts file.
    case hosts(String)
    /// With this domain of the search list behind it.
    case search(Domain)
    /// As it is.
    case dns

    package var description: String {
        switch self {
        case .literal: "an address"
        case .hosts(let path): path
        case .search(let domain): "the DNS, with \(domain) of the search list behind it"
        case .dns: "the DNS"
        }
    }
}

/// Finds addresses of names in `routes.ini`; files that changed are read again.
package final class RouteNames: Sendable {
    /// Bytes of a file that are looked at.
    private static let most = 4 << 20
    /// resolv.conf(5), which is read where nobody says otherwise.
    package static let resolvConf = "/etc/resolv.conf"

    /// What makes another file of one.
    private struct Stamp: Equatable {
        let device: UInt64
        let inode: UInt64
        let size: Int64
        let seconds: Int
        let nanoseconds: Int
    }

    private struct Kept<Value: Sendable> {
        let path: String
        let stamp: Stamp?
        let value: Value
    }

    private let hosts = Mutex<Kept<HostsFile>?>(nil)
    private let search = Mutex<Kept<SearchList>?>(nil)

    package init() {}

    /// The addresses to connect to, in the order to try them, and which rule found them.
    ///
    /// - Parameters:
    ///   - file: the hosts file; nil: none.
    ///   - list: what is put behind short names; nil: what resolv.conf says.
    ///   - resolver: asks the DNS.
    /// - Throws: ``DNSError/noSuchName`` only when no rule finds one; any other error of the DNS ends the search, so that a
    ///   name does not mean something else while a server is down.
    package func addresses(
        of host: Domain,
        hosts file: String?,
        search list: SearchList?,
        by resolver: any Resolver,
        preference: AddressPreference
    ) async throws(DNSError) -> Answer<[IPAddress]> {
        if let address = host.literal ?? IPAddress(host.name) {
            return Answer([address], timeToLive: Answer<[IPAddress]>.longest, rule: .literal)
        }
        if let file {
            let found = read(file, hosts) { HostsFile(parsing: $0) }.addresses(of: host)
            if !found.isEmpty {
                let order = AddressOrder.arrange(
                    found,
                    preference: preference,
                    hasIPv6Route: !found.contains(where: \.isV6) || AddressOrder.hasIPv6Route()
                )
                return Answer(order, timeToLive: Answer<[IPAddress]>.shortest, rule: .hosts(file))
            }
        }
        for meaning in (list ?? read(Self.resolvConf, search) { SearchList(parsing: $0) }).meanings(of: host) {
            do throws(DNSError) {
                let answer = try await resolver.addresses(of: meaning.name, preference: preference)
                return meaning.behind.map { answer.found(by: .search($0)) } ?? answer
            } catch .noSuchName {
                continue
            }
        }
        throw .noSuchName
    }

    /// What a file says now; nothing while it is missing.
    private func read<Value: Sendable>(
        _ path: String,
        _ kept: borrowing Mutex<Kept<Value>?>,
        _ parse: ([UInt8]) -> Value
    ) -> Value {
        let stamp = Self.stamp(path)
        if let known = kept.withLock({ $0 }), known.path == path, known.stamp == stamp { return known.value }
        let value = parse(stamp == nil ? [] : Self.contents(path))
        kept.withLock { $0 = Kept(path: path, stamp: stamp, value: value) }
        return value
    }

    private static func stamp(_ path: String) -> Stamp? {
        var facts = stat()
        guard stat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFREG else { return nil }
        return Stamp(
            device: UInt64(facts.st_dev),
            inode: UInt64(facts.st_ino),
            size: Int64(facts.st_size),
            seconds: facts.st_mtim.tv_sec,
            nanoseconds: facts.st_mtim.tv_nsec
        )
    }

    private static func contents(_ path: String) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 64 << 10)
        while bytes.count < most {
            let count = block.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { break }
            bytes += block.prefix(count)
        }
        return bytes
    }
}

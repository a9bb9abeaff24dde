// RouteDraft.swift — a section of the route table, and JSON, become a section: what is given, what stays, what must be given
// again.
//
// Guarantee (G11): a secret stays only where it goes to the host, port, protection, user and token server that it was given
// for (`SecretBinding`); else the client has to give it again.

import Config
import Mail

/// A section while it is edited.
struct RouteDraft {
    /// A host of the new section.
    struct Host {
        var host: RouteSection.Host
        /// A pointer to what was said about it.
        let pointer: String
        /// Properties that the client gave.
        var given: Set<RouteProperty> = []
        /// Properties that shall stay as they were, if they may.
        var wanted: Set<RouteProperty> = []
        /// The client said that there is a secret, so it must be there.
        var isPromised = false
        /// Its place among the old hosts, where the client left them as they are.
        var origin: Int?
    }

    /// The section as it was, with every word at its host; empty when there was none.
    let old: RouteSection
    var hosts: [Host] = []
    /// The DNS decides, whatever less specific sections say.
    var isDirect: Bool
    /// Mail goes nowhere.
    var ending: RouteEnding?
    let isLocal: LocalAddressCheck

    /// - Parameters:
    ///   - old: nil for a new section.
    ///   - isLocal: whether mail can leave from an address.
    init(_ old: RouteSection?, isLocal: @escaping LocalAddressCheck = { _ in true }) {
        self.isLocal = isLocal
        self.old = old?.flattened ?? RouteSection()
        isDirect = self.old.isDirect
        ending = self.old.ending
    }

    /// The hosts as they were, each with its secrets.
    mutating func keepHosts(_ pointer: String) {
        hosts = old.hosts.enumerated().map { index, host in
            var secrets = Set(host.words.keys.filter { $0.kind == .secret })
            if host.hasLogin { secrets.insert(.authPass) }
            return Host(host: host, pointer: pointer, wanted: secrets, origin: index)
        }
    }

    /// The new section.
    ///
    /// - Throws: what is missing, contradicts itself, or must be given again.
    func section() throws(Problem) -> RouteSection {
        var section = RouteSection()
        section.isDirect = isDirect
        section.ending = ending
        var hosts = hosts
        for index in hosts.indices where hosts[index].host.words[.authUser] == nil && !hosts[index].keepsLogin {
            // Without a user, secrets mean nothing.
            for property in hosts[index].wanted { hosts[index].host.words[property] = nil }
            hosts[index].wanted = []
        }
        section.hosts = hosts.map(\.host)
        for (index, host) in hosts.enumerated() {
            try keep(host, at: index, in: &section)
            do throws(ValueError) { _ = try section.host(at: index) } catch {
                throw Problem.invalid(host.pointer, "exclusive", error.reason)
            }
        }
        section.leaveOutDefaults { index, property in
            hosts[index].given.contains(property) && property.kind != .secret
        }
        return section
    }

    /// Whether a section means what the old one meant, so that not a byte of the file has to change.
    func isUnchanged(_ new: RouteSection) -> Bool {
        guard old.isDirect == new.isDirect else { return false }
        do throws(ValueError) {
            guard try old.ending?.way == new.ending?.way else { return false }
            return try old.hostsInOrder() == new.hostsInOrder()
        } catch { return false }
    }

    /// Gives a host what it shall keep.
    private func keep(_ host: Host, at index: Int, in section: inout RouteSection) throws(Problem) {
        let missing = host.wanted
        guard !missing.isEmpty else { return }
        var change: SecretBinding.Change?
        var secret = RouteProperty.allCases.first { $0.kind == .secret && missing.contains($0) } ?? .authPass
        for candidate in candidates(for: host, at: index) {
            var trial = section
            for property in missing where trial.hosts[index].words[property] == nil {
                trial.hosts[index].words[property] = old.hosts[candidate].words[property]
            }
            do throws(ValueError) {
                guard let other = try SecretBinding(old.host(at: candidate)).change(to: trial.host(at: index)) else {
                    section = trial
                    return
                }
                if change == nil {
                    change = other
                    let known = old.hosts[candidate].words
                    secret =
                        known.keys.sorted { $0.rawValue < $1.rawValue }
                        .first { $0.kind == .secret && missing.contains($0) } ?? secret
                }
            } catch {
                throw Problem.invalid(host.pointer, "exclusive", error.reason)
            }
        }
        guard change != nil || host.isPromised else { return }
        let reason = change.map { "; its \($0.rawValue) is another one" } ?? "; there is none to keep"
        throw Problem.invalid(
            "\(host.pointer)/\(secret.rawValue)",
            "required",
            "give \(secret.rawValue) again: it stays only with the host, port, protection and user it was given for\(reason)"
        )
    }

    /// Old hosts of the same name with something to keep, the likeliest first.
    private func candidates(for host: Host, at index: Int) -> [Int] {
        let places = host.origin.map { [$0] } ?? [index] + old.hosts.indices.filter { $0 != index }
        return places.filter { place in
            guard old.hosts.indices.contains(place) else { return false }
            let other = old.hosts[place]
            guard other.mx.exchange.isSame(octets: host.host.mx.exchange) else { return false }
            return other.hasLogin
                || other.words.keys.contains { $0.kind == .secret && host.wanted.contains($0) }
        }
    }
}

extension RouteDraft.Host {
    /// The user shall stay, or stands in the place itself.
    fileprivate var keepsLogin: Bool { wanted.contains(.authUser) || host.hasLogin }
}

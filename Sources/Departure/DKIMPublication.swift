// DKIMPublication.swift — whether the DNS has the record of a key, as a verifier would see it (RFC 6376 §3.6.1).

package import Config
package import DNS
import Mail

/// What the DNS says of a key.
package enum DKIMPublication: Hashable, Sendable {
    case published
    /// There is no record of that name.
    case missing
    /// There is one, of another key or withdrawn.
    case other
    /// Nobody answers.
    case unknown(String)

    /// Asks.
    package static func look(at record: DKIMRecord, _ resolver: any Resolver) async -> DKIMPublication {
        guard let name = Domain(record.name) else { return .missing }
        do throws(DNSError) {
            let texts = try await resolver.text(of: name).value
            if texts.isEmpty { return .missing }
            return texts.contains { record.isSame(as: $0) } ? .published : .other
        } catch .noSuchName {
            return .missing
        } catch {
            return .unknown("\(error)")
        }
    }

    /// For people.
    package var words: String {
        switch self {
        case .published: "is published"
        case .missing: "is not in the DNS"
        case .other: "is not what the DNS has under that name"
        case .unknown(let reason): "cannot be looked at: \(reason)"
        }
    }

    /// For programs.
    package var name: String {
        switch self {
        case .published: "published"
        case .missing: "missing"
        case .other: "other"
        case .unknown: "unknown"
        }
    }
}

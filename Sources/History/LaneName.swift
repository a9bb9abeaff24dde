// LaneName.swift — what events call a lane: the word that filters take, and the whole of it.

package import Mail

/// A lane in words.
package struct LaneName: Hashable, Sendable {
    private enum Kind: UInt8 {
        case route = 0
        case other
    }

    private let kind: Kind
    private let name: String
    /// Where from and how protected, where mail demands it.
    private let rest: String

    /// The usual lane costs no text of its own.
    package init(_ lane: Lane) {
        name = lane.name
        if case .route = lane.hop { kind = .route } else { kind = .other }
        if lane.source == nil, lane.tls == nil {
            rest = ""
        } else {
            let whole = lane.description
            let short = kind == .route ? name.utf8.count + 2 : name.utf8.count
            rest = String(whole.dropping(octets: short))
        }
    }

    /// A section of `routes.ini`, or a domain.
    package var route: String { name }

    /// As ``Lane/description``.
    package var whole: String { kind == .route ? "[\(name)]\(rest)" : name + rest }
}

extension LaneName {
    func encode(to writer: inout OctetWriter) {
        writer.put(kind.rawValue)
        writer.put(piece: name, atMost: 512)
        writer.put(piece: rest, atMost: 512)
    }

    init(decoding reader: inout StoredReader) throws(Malformed) {
        kind = Kind(rawValue: try reader.byte()) ?? .other
        name = try reader.string()
        rest = try reader.string()
    }
}

// WayIn.swift — how a message came in, and for which mail a section of a file is: that of a listener, of a network, of a
// login. One rule for every file that has such sections.

package import Mail

/// How a message comes in.
package struct WayIn: Hashable, Sendable {
    /// A door.
    package enum Door: Hashable, Sendable {
        /// A client's connection to this place; nil when that could not be told.
        case smtp(ListenAddress?)
        case api
        /// Made by the relay itself, or by a plugin.
        case inside
    }

    package var door: Door
    /// The client's address; nil when it could not be told, or there is none.
    package var client: IPAddress?
    /// Who has logged in; nil: nobody.
    package var login: String?

    package init(_ door: Door, client: IPAddress? = nil, login: String? = nil) {
        self.door = door
        self.client = client
        self.login = login
    }
}

/// The mail that a section is for.
package enum Whose: Hashable, Sendable, CustomStringConvertible {
    case all
    /// What came in at a place.
    case place(ListenAddress)
    /// What came in at a section `[listener NAME]` of `smtp.ini`; `api` is mail by the API.
    case listener(String)
    case client(IPNetwork)
    case login(String)

    /// The name of the door that is no listener of SMTP.
    package static let api = "api"

    /// Reads what stands behind the first word of a section: nothing, `listener 127.0.0.1:25`, `listener NAME`,
    /// `client 10.0.0.0/8`, `login app`.
    ///
    /// - Returns: nil for anything else.
    package init?(_ text: some StringProtocol) {
        let words = text.words
        switch words.count {
        case 0: self = .all
        case 2:
            let name = String(words[1])
            switch String(words[0]) {
            case "listener":
                if let place = ListenAddress(name) {
                    self = .place(place)
                } else {
                    guard Self.isName(name) else { return nil }
                    self = .listener(name)
                }
            case "client":
                guard let network = IPNetwork(name) else { return nil }
                self = .client(network)
            case "login": self = .login(name)
            default: return nil
            }
        default: return nil
        }
    }

    /// Whether a word can be the name of a listener.
    package static func isName(_ text: some StringProtocol) -> Bool {
        (1...63).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
                    UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }

    package var description: String {
        switch self {
        case .all: ""
        case .place(let place): "listener \(place)"
        case .listener(let name): "listener \(name)"
        case .client(let network): "client \(network)"
        case .login(let name): "login \(name)"
        }
    }

    /// Whether mail that came in so is meant.
    ///
    /// - Parameter listeners: those that there are.
    package func means(_ way: WayIn, _ listeners: ListenerSettings) -> Bool {
        switch self {
        case .all: return true
        case .place(let place):
            guard case .smtp(let here?) = way.door else { return false }
            return place.takes(here, among: listeners.everywhere)
        case .listener(let name):
            guard case .smtp(let here?) = way.door else { return way.door == .api && name.isSame(octets: Self.api) }
            return listeners.name(at: here).map { $0.isSame(octets: name) } ?? false
        case .client(let network): return way.client.map { network.contains($0) } ?? false
        case .login(let name): return way.login.map { $0.isSame(octets: name) } ?? false
        }
    }

    /// Who decides first: a login, then the smallest network, then a listener, then everybody.
    package var weight: Int {
        switch self {
        case .all: 0
        case .listener, .place: 1
        case .client(let network): 2 + network.prefix + (network.address.isV6 ? 0 : 96)
        case .login: 1000
        }
    }
}

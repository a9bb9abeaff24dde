// RouteSection.swift — a section of `routes.ini` as it is written: hosts and their words as text.
//
// The syntax of the file, and of an `mx` line, is known here and in `RouteLine` alone. Guarantee: what
// `RouteSection+Writing` wrote reads back as the same section.

package import Mail

/// The content of a section, before it is asked what its words mean.
package struct RouteSection: Hashable, Sendable {
    /// A place to try, with the words of its own line.
    package struct Host: Hashable, Sendable {
        /// `host`, `host:port` … as it stands in the file.
        package let place: String
        /// The place, read; its properties are those that the place itself says.
        package let mx: MX
        /// The port is a part of the place and counts more than the property.
        package let hasPort: Bool
        package var words: [RouteProperty: String]

        /// Reads a place.
        ///
        /// - Returns: nil when it is none, or cannot stand on a line among others.
        package init?(_ place: String, words: [RouteProperty: String] = [:]) {
            guard RouteLine.fitsAmongOthers(place), !place.contains(octet: "="),
                let parsed = MX.parse(place)
            else { return nil }
            self.place = place
            self.mx = parsed.mx
            self.hasPort = parsed.hasPort
            self.words = words
        }

        /// Whether the place itself holds a password, as `smtp://user:password@host` does.
        package var hasLogin: Bool { mx.auth != nil }
    }

    package var hosts: [Host] = []
    /// What holds for every host that does not say it otherwise.
    package var shared: [RouteProperty: String] = [:]
    /// The DNS decides, whatever less specific sections say.
    package var isDirect = false
    /// Mail goes nowhere.
    package var ending: RouteEnding?

    package init() {}

    /// Reads a section.
    ///
    /// - Throws: the first thing that is wrong.
    init(_ block: INIDocument.Block) throws(ValueError) {
        for entry in block.entries {
            switch try RouteLine(entry) {
            case .hosts(let found): hosts += found
            case .property(let property, let value): shared[property] = value
            case .direct(let isDirect): self.isDirect = isDirect
            case .ending(let ending): self.ending = ending ?? self.ending
            }
        }
    }

    /// Every section of a document that can be read, by its name in normal form; the first of two with the same name.
    package static func all(in document: INIDocument) -> [String: (name: String, section: RouteSection?)] {
        var found: [String: (name: String, section: RouteSection?)] = [:]
        for block in document.blocks {
            guard let match = Routes.normalized(block.name), found[match] == nil else { continue }
            do throws(ValueError) {
                found[match] = (block.name, try RouteSection(block))
            } catch {
                // What is broken may be written over, and keeps nothing.
                found[match] = (block.name, nil)
            }
        }
        return found
    }

    // MARK: - What it means

    /// The hosts in the order to try them, secrets as they are written.
    ///
    /// - Throws: what contradicts itself.
    package func hostsInOrder() throws(ValueError) -> [MX] {
        var surroundings = Surroundings.ignored
        var written: [(host: Host, properties: RouteProperties)] = []
        for host in hosts { written.append((host, try RouteProperties(host.words, in: &surroundings))) }
        return try Self.inOrder(written, shared: try RouteProperties(shared, in: &surroundings))
    }

    /// One host as it would be tried, secrets as they are written.
    ///
    /// - Throws: what contradicts itself.
    package func host(at index: Int) throws(ValueError) -> MX {
        var surroundings = Surroundings.ignored
        let all = try RouteProperties(hosts[index].words, in: &surroundings)
            .filled(from: try RouteProperties(shared, in: &surroundings))
        return try all.apply(to: hosts[index].mx, hasPort: hosts[index].hasPort)
    }

    /// Hosts in the order to try them; one without a priority comes after the one written before it.
    ///
    /// - Throws: ``ValueError`` when properties contradict each other.
    static func inOrder(
        _ written: [(host: Host, properties: RouteProperties)],
        shared: RouteProperties
    ) throws(ValueError) -> [MX] {
        var next: UInt16 = 0
        var found: [MX] = []
        found.reserveCapacity(written.count)
        for (host, properties) in written {
            let all = properties.filled(from: shared)
            var mx = try all.apply(to: host.mx, hasPort: host.hasPort)
            mx.priority = all.priority ?? next
            next = mx.priority == .max ? .max : mx.priority + 1
            found.append(mx)
        }
        // Swift's sort is stable, so the written order holds among equals.
        return found.sorted { $0.priority < $1.priority }
    }

    /// Leaves words out that say what holds anyway, as the answers of the API do.
    ///
    /// - Parameter mayGo: whether a host's word may be left out.
    package mutating func leaveOutDefaults(_ mayGo: (_ host: Int, _ property: RouteProperty) -> Bool) {
        for index in hosts.indices {
            let whole = attempt { () throws(ValueError) in try host(at: index) }
            for property in RouteProperty.allCases where property != .priority && mayGo(index, property) {
                guard let word = hosts[index].words.removeValue(forKey: property) else { continue }
                if attempt({ () throws(ValueError) in try host(at: index) }) != whole {
                    hosts[index].words[property] = word
                }
            }
        }
        var unsaid = self
        for index in hosts.indices where mayGo(index, .priority) { unsaid.hosts[index].words[.priority] = nil }
        let isSame =
            attempt { () throws(ValueError) in try unsaid.hostsInOrder() }
            == attempt { () throws(ValueError) in try hostsInOrder() }
        if isSame { self = unsaid }
    }

    /// nil for what is wrong: whoever writes it will be told why.
    private func attempt<Value>(_ body: () throws(ValueError) -> Value) -> Value? {
        do throws(ValueError) { return try body() } catch { return nil }
    }

    /// The same, with every word on the line of its host, and logins out of places.
    ///
    /// A password of a place that would be a reference as a word stays where it is.
    package var flattened: RouteSection {
        var section = self
        section.shared = [:]
        section.hosts = hosts.map { host in
            var host = host
            let hasOwnAddress = host.words[.bind] != nil
            for (property, value) in shared where host.words[property] == nil {
                // A name belongs to its address.
                if property == .bindHelo, hasOwnAddress { continue }
                host.words[property] = value
            }
            return host.withoutLogin
        }
        return section
    }
}

extension RouteSection.Host {
    /// `smtp://user:password@host` as a host with words; the same host when it is none, or cannot be said so.
    fileprivate var withoutLogin: RouteSection.Host {
        guard let auth = mx.auth, case .password(let secret) = auth.proof,
            !SecretReference(secret.revealed).isElsewhere, INIDocument.canHold(secret.revealed),
            INIDocument.canHold(auth.user),
            var plain = RouteSection.Host(hasPort ? mx.description : IPAddress(mx.exchange)?.bracketed ?? mx.exchange)
        else { return self }
        var own: [RouteProperty: String] = [.authUser: auth.user, .authPass: secret.revealed]
        if mx.usingLMTP { own[.usingLMTP] = "true" }
        if mx.implicitTLS { own[.implicitTLS] = "true" }
        if words[.authUser] != nil || words[.authPass] != nil { (own[.authUser], own[.authPass]) = (nil, nil) }
        plain.words = words.merging(own) { word, _ in word }
        return plain
    }
}

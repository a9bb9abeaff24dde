// Surroundings.swift — what a file of settings refers to outside of itself: passwords kept elsewhere, addresses of this
// machine.

import Mail

/// Reads secrets (``SecretReference``) and knows which addresses are ours.
struct Surroundings {
    /// Larger secrets are a mistake.
    private static let largest = 64 << 10

    private let source: (any ConfigSource)?
    private let environment: Environment
    private let author: SecretReference.Author
    private let isLocal: @Sendable (IPAddress) -> Bool
    private var local: [IPAddress: Bool] = [:]
    /// Secrets by the octets of their file's name.
    private var known: [[UInt8]: Secret] = [:]
    /// Files that were read, or looked for.
    private(set) var files: Set<String> = []
    /// A secret stood in the file itself.
    private(set) var hasSecrets = false
    /// False leaves secrets as they are written, for those who edit them.
    private let resolvesSecrets: Bool

    /// - Parameters:
    ///   - source: where files are; nil: a file is an error.
    ///   - environment: what variables say.
    ///   - author: who wrote the text that refers to all this.
    ///   - resolvesSecrets: false leaves secrets as they are written.
    ///   - isLocal: whether an address is one of this machine.
    init(
        _ source: (any ConfigSource)? = nil,
        environment: Environment = Environment(),
        author: SecretReference.Author = .administrator,
        resolvesSecrets: Bool = true,
        isLocal: @escaping @Sendable (IPAddress) -> Bool = { _ in true }
    ) {
        self.source = source
        self.environment = environment
        self.author = author
        self.resolvesSecrets = resolvesSecrets
        self.isLocal = isLocal
    }

    /// For those who only want to know whether a text is right, and not what it refers to.
    static var ignored: Surroundings { Surroundings(resolvesSecrets: false) }

    /// An address to send from.
    ///
    /// - Throws: ``ValueError`` when it is no address, or not one of this machine.
    mutating func ownAddress(_ text: some StringProtocol) throws(ValueError) -> IPAddress {
        guard let address = IPAddress(text) ?? IPAddress(literal: text), !address.isUnspecified else {
            throw ValueError("\"\(ValueParsing.shown(text))\" is not an IP address")
        }
        let isOurs = local[address] ?? isLocal(address)
        local[address] = isOurs
        guard isOurs else { throw ValueError("\(address) is not an address of this machine") }
        return address
    }

    /// The secret behind a value.
    ///
    /// - Throws: ``ValueError``, which never holds the secret.
    mutating func secret(_ value: String, _ property: RouteProperty) throws(ValueError) -> Secret {
        do throws(ValueError) {
            return try secret(value)
        } catch {
            throw ValueError("\(property.rawValue): \(error.reason)")
        }
    }

    /// The secret behind a value.
    ///
    /// - Throws: ``ValueError``, which never holds the secret.
    mutating func secret(_ value: String) throws(ValueError) -> Secret {
        let reference = SecretReference(value)
        try reference.check(from: author)
        guard resolvesSecrets else {
            if case .plain = reference { return try Self.line(value) }
            return Secret(value)
        }
        return try resolved(reference)
    }

    /// A secret stood in a place that is not one of the known properties, such as a URL.
    mutating func sawSecret() { hasSecrets = true }

    private mutating func resolved(_ reference: SecretReference) throws(ValueError) -> Secret {
        switch reference {
        case .plain(let text):
            hasSecrets = true
            return try Self.line(text)
        case .variable(let name):
            guard let found = try environment.secret(name) else {
                throw ValueError("the environment has no \(ValueParsing.shown(name))")
            }
            return try Self.line(found)
        case .file(let path):
            let key = Array(path.utf8)
            if let secret = known[key] { return secret }
            let secret = try Self.line(try contents(path))
            known[key] = secret
            return secret
        }
    }

    private static func line(_ text: String) throws(ValueError) -> Secret {
        guard !text.isEmpty, text.utf8.count <= largest,
            !text.utf8.contains(where: { $0 == 0 || $0 == 0x0A || $0 == 0x0D })
        else { throw ValueError("a secret is one line of text") }
        return Secret(text)
    }

    private mutating func contents(_ file: String) throws(ValueError) -> String {
        let name = ValueParsing.shown(file)
        guard let source, !file.isEmpty, !file.utf8.contains(0) else { throw ValueError("\(name) cannot be read") }
        files.insert(file)
        let bytes: [UInt8]?
        do throws(ConfigError) {
            bytes = try source.contents(of: file, atMost: Self.largest)
        } catch {
            throw ValueError("\(name) \(error.reason)")
        }
        guard let bytes else { throw ValueError("there is no file \(name)") }
        do throws(ValueError) { return try GivenText.value(bytes) } catch {
            throw ValueError("\(name) \(error.reason)")
        }
    }
}

// Surroundings.swift — what a file of settings refers to outside of itself: passwords kept elsewhere, addresses of this
// machine.

import Glibc
import Mail

/// Reads secrets (`plain`, `@file:PATH`, `@env:NAME`) and knows which addresses are ours.
struct Surroundings {
    /// Larger secrets are a mistake.
    private static let largest = 64 << 10

    private let source: (any ConfigSource)?
    private let isLocal: @Sendable (IPAddress) -> Bool
    private var local: [IPAddress: Bool] = [:]
    private var known: [String: Secret] = [:]
    /// Files that were read, or looked for.
    private(set) var files: Set<String> = []
    /// A secret stood in the file itself.
    private(set) var hasSecrets = false

    /// - Parameters:
    ///   - source: where files are; nil: a file is an error.
    ///   - isLocal: whether an address is one of this machine.
    init(_ source: (any ConfigSource)? = nil, isLocal: @escaping @Sendable (IPAddress) -> Bool = { _ in true }) {
        self.source = source
        self.isLocal = isLocal
    }

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
        if let secret = known[value] { return secret }
        do throws(ValueError) {
            let text: String
            if let file = Self.reference("@file:", value) {
                text = try contents(file)
                known[value] = Secret(text)
            } else if let name = Self.reference("@env:", value) {
                guard let found = getenv(name) else { throw ValueError("the environment has no \(name)") }
                text = String(cString: found)
            } else {
                text = value
                hasSecrets = true
            }
            guard !text.isEmpty, text.utf8.count <= Self.largest,
                !text.utf8.contains(where: { $0 == 0 || $0 == 0x0A || $0 == 0x0D })
            else { throw ValueError("a secret is one line of text") }
            return Secret(text)
        } catch {
            throw ValueError("\(property.rawValue): \(error.reason)")
        }
    }

    private static func reference(_ prefix: String, _ value: String) -> String? {
        guard value.utf8.starts(with: prefix.utf8) else { return nil }
        return String(value.dropFirst(prefix.count))
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
        guard var bytes else { throw ValueError("there is no file \(name)") }
        // The line end that every editor leaves.
        if bytes.last == 0x0A { bytes.removeLast() }
        if bytes.last == 0x0D { bytes.removeLast() }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw ValueError("\(name) is not UTF-8") }
        return text
    }
}

// LogSettings.swift — how the log looks: options before variables before defaults, read the same by `serve` and `check`.

import ArgumentParser
import Config
import Log
import Mail
import OpenSSL

/// What `--log-…` and `MARTLET_LOG_…` come to.
struct LogSettings {
    let format: LogFormat
    let level: LogLevel
    let addresses: LogAddresses
    /// Variables that say something else than one of the words; none of them counts then.
    let problems: [ConfigError]

    init(
        _ environment: Environment,
        format: LogFormat? = nil,
        level: LogLevel? = nil,
        addresses: LogAddresses? = nil
    ) {
        var problems: [ConfigError] = []
        func value<Value: ExpressibleByArgument>(_ name: String) -> Value? {
            guard let text = environment.program[name] else { return nil }
            guard let value = Value(argument: text) else {
                let known = Value.allValueStrings.joined(separator: ", ")
                problems.append(
                    ConfigError(file: Environment.name, reason: "MARTLET_\(name) is none of \(known), in small letters")
                )
                return nil
            }
            return value
        }
        let (ownFormat, ownLevel, ownAddresses) =
            (
                value("LOG_FORMAT") as LogFormat?, value("LOG_LEVEL") as LogLevel?,
                value("LOG_ADDRESSES") as LogAddresses?
            )
        self.format = format ?? ownFormat ?? .text
        self.level = level ?? ownLevel ?? .notice
        self.addresses = addresses ?? ownAddresses ?? .full
        self.problems = problems
    }

    func sink(_ descriptor: Int32) -> LogSink {
        LogSink(descriptor: descriptor, format: format, level: level, privacy: addresses.privacy)
    }
}

/// `--log-addresses`.
enum LogAddresses: String, CaseIterable, ExpressibleByArgument {
    case full, domain, hash

    /// The hash is keyed by chance: the same for an address until the next start, and nothing to look it up by.
    var privacy: AddressPrivacy? {
        switch self {
        case .full: return nil
        case .domain: return .domain
        case .hash:
            let key = (0..<32).map { _ in UInt8.random(in: .min ... .max) }
            return .hash { address in
                let code = KeyedHash.hmac(.sha256, key: key, message: Array(address.utf8))
                return code.hexadecimal
            }
        }
    }
}

extension LogFormat: ExpressibleByArgument {}

extension LogLevel: ExpressibleByArgument {
    init?(argument: String) { self.init(argument) }

    static var allValueStrings: [String] { allCases.map(\.name) }
}

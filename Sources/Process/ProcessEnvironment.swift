// ProcessEnvironment.swift — all variables that this process was started with: the only look at them in the house.

import CProcess

/// The environment, as names and values.
///
/// Values are bytes: whoever reads one decides what it may hold, by the same rule for a variable and for a file.
package enum ProcessEnvironment {
    /// Every variable; of two with one name the first counts, as it does for getenv(3).
    ///
    /// To be read before threads that could change it.
    package static func all() -> [String: [UInt8]] {
        guard let list = martlet_environment() else { return [:] }
        var entries: [[UInt8]] = []
        var index = 0
        while let entry = list[index] {
            var bytes: [UInt8] = []
            var end = entry
            while end.pointee != 0 {
                bytes.append(UInt8(bitPattern: end.pointee))
                end += 1
            }
            entries.append(bytes)
            index += 1
        }
        return variables(entries)
    }

    /// Names and values of entries such as `NAME=value`.
    ///
    /// Entries without `=` and names that are not ASCII are nobody's: they are passed over.
    static func variables(_ entries: [[UInt8]]) -> [String: [UInt8]] {
        var found: [String: [UInt8]] = [:]
        for entry in entries {
            guard let equals = entry.firstIndex(of: UInt8(ascii: "=")) else { continue }
            guard entry[..<equals].allSatisfy({ $0 < 0x80 }) else { continue }
            let name = String(decoding: entry[..<equals], as: UTF8.self)
            if found[name] == nil { found[name] = Array(entry[(equals + 1)...]) }
        }
        return found
    }
}

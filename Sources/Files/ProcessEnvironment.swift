// ProcessEnvironment.swift — all variables that this process was started with.

import CIntrinsics

/// The environment, as names and values.
package enum ProcessEnvironment {
    /// Every variable; of two with one name the first counts, as it does for getenv(3).
    ///
    /// To be read before threads that could change it.
    package static func all() -> [String: String] {
        guard let list = martlet_environment() else { return [:] }
        var found: [String: String] = [:]
        var index = 0
        while let entry = list[index] {
            let text = String(cString: entry)
            index += 1
            guard let equals = text.utf8.firstIndex(of: UInt8(ascii: "=")) else { continue }
            let name = String(text[..<equals])
            if found[name] == nil { found[name] = String(text[text.utf8.index(after: equals)...]) }
        }
        return found
    }
}

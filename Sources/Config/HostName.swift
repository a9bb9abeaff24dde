// HostName.swift — the machine's own name, made fit for SMTP.

import Glibc
package import Mail

/// The name we go by when `me` does not say.
package enum HostName {
    /// What the machine calls itself, unchecked.
    package static func ofMachine() -> String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "" }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// A name that may stand in a banner, whatever the machine is called: other characters become hyphens.
    package static func valid(_ name: String) -> Domain {
        if let domain = Domain(name) { return domain }
        let isLetter = { (byte: UInt8) in
            (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
        }
        let labels = name.utf8.split(octet: ".").map { label in
            let replaced = label.prefix(63).map { isLetter($0) ? $0 : UInt8(ascii: "-") }
            let trimmed = replaced.drop { $0 == UInt8(ascii: "-") }.reversed().drop { $0 == UInt8(ascii: "-") }
                .reversed()
            return String(decoding: Array(trimmed), as: UTF8.self)
        }
        return Domain(labels.filter { !$0.isEmpty }.joined(separator: ".")) ?? Domain(unchecked: "localhost")
    }
}

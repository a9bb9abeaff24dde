// PasswordHash.swift — passwords hashed by crypt(3): verified in constant time, made with fresh salt.
//
// The one importer of libcrypt. Verifying takes tens of milliseconds of processor time by design: never call it on an
// event loop. The methods: yescrypt `$y$`, SHA-512 `$6$`, bcrypt `$2b$` (and its siblings `$2a$`, `$2y$`).

import CCrypt

/// A hash as `mkpasswd`, `htpasswd -B` or `martlet passwd` make it.
package struct PasswordHash: Hashable, Sendable {
    /// How a new hash is made.
    package enum Method: String, CaseIterable, Sendable {
        case yescrypt = "$y$"
        case sha512 = "$6$"
        case bcrypt = "$2b$"
    }

    /// What a hash that we verify begins with.
    package static let prefixes = ["$y$", "$6$", "$2b$", "$2a$", "$2y$"]
    /// Longest password in bytes; libcrypt takes 511, and bcrypt looks at the first 72.
    package static let longestPassword = 511

    /// The hash with its method and salt: a secret, because weak passwords can be guessed from it.
    package let text: String

    /// Takes a hash that stands in a file.
    ///
    /// - Returns: nil when it is none of the known methods, or not complete.
    package init?(_ text: String) {
        guard Self.prefix(of: text) != nil, text.utf8.count <= 256, Self.isComplete(text) else { return nil }
        self.text = text
    }

    /// Hashes a password with a fresh salt.
    ///
    /// - Returns: nil for a password that is empty, too long or holds a NUL, or when libcrypt lacks the method.
    package init?(of password: [UInt8], method: Method = .yescrypt) {
        // Zero lets libcrypt choose the cost and gather the salt from the system.
        var setting = [CChar](repeating: 0, count: Int(CRYPT_GENSALT_OUTPUT_SIZE))
        guard crypt_gensalt_rn(method.rawValue, 0, nil, 0, &setting, Int32(setting.count)) != nil else { return nil }
        let chosen = String(decoding: setting.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        guard let hashed = Self.crypt(password, chosen) else { return nil }
        self.init(String(decoding: hashed, as: UTF8.self))
    }

    /// Whether this is the hash of a password; takes the same time for every wrong one.
    ///
    /// Blocks for tens of milliseconds.
    package func matches(_ password: [UInt8]) -> Bool {
        guard let hashed = Self.crypt(password, text) else { return false }
        return ConstantTime.equal(hashed, Array(text.utf8))
    }

    private static func prefix(of text: String) -> String? {
        prefixes.first { text.utf8.starts(with: $0.utf8) }
    }

    private static func isComplete(_ text: String) -> Bool {
        guard !text.utf8.contains(where: { $0 <= 0x20 || $0 >= 0x7F }) else { return false }
        let fields = text.utf8.split(separator: UInt8(ascii: "$"), omittingEmptySubsequences: false)
        guard let last = fields.last, last.count >= 43, fields.count >= 4 else { return false }
        return [CRYPT_SALT_OK, CRYPT_SALT_METHOD_LEGACY, CRYPT_SALT_TOO_CHEAP].contains(crypt_checksalt(text))
    }

    /// The hash of a password with the method and salt of a setting; nil for what crypt(3) cannot hash.
    private static func crypt(_ password: [UInt8], _ setting: String) -> [UInt8]? {
        guard !password.isEmpty, password.count <= longestPassword, !password.contains(0) else { return nil }
        var phrase = password.map { CChar(bitPattern: $0) } + [0]
        let size = MemoryLayout<crypt_data>.size
        // On the heap, because `crypt_data` takes 32 KiB; wiped, because it holds the password.
        let room = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: MemoryLayout<crypt_data>.alignment)
        room.initializeMemory(as: UInt8.self, repeating: 0, count: size)
        defer {
            ConstantTime.wipe(UnsafeMutableRawBufferPointer(start: room, count: size))
            room.deallocate()
            phrase.withUnsafeMutableBytes { ConstantTime.wipe($0) }
        }
        guard let hashed = crypt_rn(phrase, setting, room, Int32(size)) else { return nil }
        return UnsafeBufferPointer(start: hashed, count: Int(CRYPT_OUTPUT_SIZE))
            .prefix { $0 != 0 }
            .map { UInt8(bitPattern: $0) }
    }
}

extension PasswordHash: CustomStringConvertible {
    /// The method alone: a hash never reaches a log by accident.
    package var description: String { "\(Self.prefix(of: text) ?? "")…" }
}

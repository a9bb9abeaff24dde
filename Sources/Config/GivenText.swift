// GivenText.swift — what a variable or a file with one value in it says: one rule for both, on octets.
//
// A byte-order mark in front and line ends behind are what editors, `echo` and Windows leave; nobody means them. What is
// nothing but blanks is empty, and what is empty is not given, as it is for the images people come from.

import Mail

/// Bytes from outside as the one value they hold.
package enum GivenText {
    private static let mark: [UInt8] = [0xEF, 0xBB, 0xBF]

    /// The text without mark and line ends; its other blanks stay, because a password may have them.
    ///
    /// - Throws: ``ValueError`` when it is no UTF-8 or holds a NUL.
    package static func value(_ bytes: [UInt8]) throws(ValueError) -> String {
        var rest = bytes.starts(with: mark) ? bytes.dropFirst(mark.count) : bytes[...]
        while let last = rest.last, last == UInt8(ascii: "\n") || last == UInt8(ascii: "\r") { rest.removeLast() }
        guard let text = String(validating: rest, as: UTF8.self), !rest.contains(0) else {
            throw ValueError("is not UTF-8 text")
        }
        return text
    }

    /// Whether nothing is said.
    static func isBlank(_ text: String) -> Bool {
        text.utf8.allSatisfy { [0x20, 0x09, 0x0A, 0x0D].contains($0) }
    }

    /// The words of a list: between commas, blanks and line ends.
    static func words(_ text: String) -> [String] {
        text.utf8.split { [UInt8(ascii: ","), 0x20, 0x09, 0x0A, 0x0D].contains($0) }.map { String(Substring($0)) }
    }
}

// ReasonText.swift — errors of the network in the words of people.

import Glibc
import Mail
import NIOCore

/// An error of the network in words for the log.
func reasonText(_ error: any Error) -> String {
    switch error {
    case let error as IOError: systemText(error.errnoCode)
    case ChannelError.connectTimeout: "no connection in time"
    default: "\(error)"
    }
}

/// What the system calls this error.
private func systemText(_ code: CInt) -> String {
    var text = [CChar](repeating: 0, count: 128)
    guard strerror_r(code, &text, text.count) == 0 else { return "error \(code)" }
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).lowercasedASCII
}

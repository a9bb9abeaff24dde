// ProcessTitle.swift — what `ps` and `top` show: `martlet 1/2/3`, messages in progress, waiting, temporarily failed.

import Glibc

/// The process's title.
///
/// Used by the main thread alone.
package final class ProcessTitle {
    /// The bytes of the command line, which the kernel shows to others; they lie in one piece on the stack of the process.
    private let area: UnsafeMutableBufferPointer<CChar>
    /// Takes what `top` shows.
    private let name: (String) -> Void
    private var shown = ""

    /// Take it when the command line has been read: its bytes are overwritten.
    package init() {
        let arguments = CommandLine.unsafeArgv
        var end: UnsafeMutablePointer<CChar>?
        for index in 0..<Int(CommandLine.argc) {
            guard let argument = arguments[index] else { break }
            // Only while the pieces follow each other: nobody promises it, every Linux does it.
            guard end == nil || end == argument else { break }
            end = argument + strlen(argument) + 1
        }
        let start = arguments[0]
        area = UnsafeMutableBufferPointer(start: start, count: start.flatMap { first in end.map { $0 - first } } ?? 0)
        name = Self.writeName
    }

    /// - Parameters:
    ///   - area: stands for the bytes of the command line.
    ///   - name: takes what `top` shows.
    init(area: UnsafeMutableBufferPointer<CChar>, name: @escaping (String) -> Void) {
        self.area = area
        self.name = name
    }

    /// Shows Haraka's triple; costs nothing when it has not changed.
    package func show(inProgress: Int, waiting: Int, tempFailed: Int) {
        let triple = "\(inProgress)/\(waiting)/\(tempFailed)"
        let title = "martlet \(triple)"
        guard title != shown else { return }
        shown = title
        writeArguments(title)
        name(title.utf8.count <= 15 ? title : triple)
    }

    /// Writes what `ps -f` shows.
    ///
    /// A last byte that is not zero tells the kernel that this is a title that ends at the first zero.
    private func writeArguments(_ title: String) {
        guard area.count >= 2 else { return }
        area.update(repeating: 0)
        for (index, byte) in title.utf8.prefix(area.count - 2).enumerated() { area[index] = CChar(bitPattern: byte) }
        area[area.count - 1] = 0x2E
    }

    /// Writes what `top` and `ps -o comm` show, 15 bytes: the same as prctl(PR_SET_NAME), which Swift cannot call.
    private static func writeName(_ name: String) {
        let descriptor = open("/proc/self/comm", O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let bytes = Array(name.utf8.prefix(15))
        _ = write(descriptor, bytes, bytes.count)
    }
}

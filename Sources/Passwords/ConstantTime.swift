// ConstantTime.swift — comparing and forgetting secrets.

import Glibc

/// What must not tell by its time, or stay behind in memory.
package enum ConstantTime {
    /// Whether two texts are equal; the time depends on the length of the second alone.
    package static func equal(_ theirs: [UInt8], _ ours: [UInt8]) -> Bool {
        var difference: UInt8 = theirs.count == ours.count ? 0 : 1
        for index in ours.indices {
            difference |= ours[index] ^ (index < theirs.count ? theirs[index] : ~ours[index])
        }
        return difference == 0
    }

    /// Overwrites memory in a way that the compiler does not leave out.
    package static func wipe(_ memory: UnsafeMutableRawBufferPointer) {
        guard let start = memory.baseAddress, memory.count > 0 else { return }
        explicit_bzero(start, memory.count)
    }
}

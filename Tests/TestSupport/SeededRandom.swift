// SeededRandom.swift — random inputs that are the same in every run, and how many of them.

import Glibc

/// SplitMix64: small, fast, and good enough to make up inputs.
package struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}

/// How much a property test tries.
package enum Effort {
    /// Whether this is a build for speed, which gets more work in the same time.
    package static var isOptimised: Bool {
        #if DEBUG
        false
        #else
        true
        #endif
    }

    /// `normal`, or as many times that as `TEST_EFFORT` says (0.1, 10, …); with `TEST_SOAK` twenty times.
    package static func count(_ normal: Int) -> Int {
        if getenv("TEST_EFFORT") == nil, getenv("TEST_SOAK") != nil { return normal * 20 }
        guard let text = getenv("TEST_EFFORT"), let factor = Double(String(cString: text)), factor > 0 else {
            return normal
        }
        return max(1, Int(min(1e9, Double(normal) * factor)))
    }
}

// DescriptorLimit.swift — how many connections the process can afford, so that clients leave descriptors for the rest.

import Glibc

/// What the limit of open files allows.
package enum DescriptorLimit {
    /// Descriptors for the queue, the log and the event loops.
    private static let house = 96

    /// How many clients may be connected: what the limit of open files leaves beside the house and the deliveries, and at
    /// least half of it.
    ///
    /// - Parameter deliveries: sessions to next hops at once.
    package static func forClients(deliveries: Int) -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return .max }
        return forClients(descriptors: Int(clamping: limit.rlim_cur), deliveries: deliveries)
    }

    /// The same for a given limit of open files.
    static func forClients(descriptors: Int, deliveries: Int) -> Int {
        max(descriptors / 2, descriptors - house - max(0, min(deliveries, descriptors)))
    }
}

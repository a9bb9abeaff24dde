// DescriptorLimitTests.swift — what clients may take of the descriptors.

import Testing

@testable import Process

struct DescriptorLimitTests {
    @Test(arguments: [
        (64, 100, 32), (256, 100, 128), (1024, 100, 828), (20_000, 100, 19_804), (1024, Int.max, 512), (0, 1, 0),
    ])
    func clientsLeaveDescriptorsForQueueAndDeliveries(descriptors: Int, deliveries: Int, clients: Int) {
        #expect(DescriptorLimit.forClients(descriptors: descriptors, deliveries: deliveries) == clients)
    }
}

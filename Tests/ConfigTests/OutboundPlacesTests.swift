// OutboundPlacesTests.swift — where the keys of outbound.ini stand, for those who tell why mail waits.

import Mail
import Testing

@testable import Config

@Suite struct OutboundPlacesTests {
    @Test func saysFileAndLineOrTheVariable() throws {
        let text = "; how mail leaves\ndisabled = true\n\n[main]\nconcurrency_max = 7\nlane_rest_max_s = 9\n"
        let environment = try Environment(["MARTLET_OUTBOUND_CONCURRENCY_PER_LANE": Array("3".utf8)]) {
            _ throws(ConfigError) in nil
        }
        let config = MemoryConfig(["outbound.ini": text])
        let reader = SettingsReader(config, hostName: "a.test", environment: environment)
        let places = try reader.read().settings.outboundPlaces
        #expect(
            places == [
                "disabled": "outbound.ini:2", "concurrency_max": "outbound.ini:5", "lane_rest_max": "outbound.ini:6",
                "concurrency_per_lane": "MARTLET_OUTBOUND_CONCURRENCY_PER_LANE",
            ]
        )
    }

    @Test func whatIsSaidNowhereHasNoPlace() throws {
        let settings = try SettingsReader(MemoryConfig(), hostName: "a.test").read().settings
        #expect(settings.outboundPlaces.isEmpty)
    }
}

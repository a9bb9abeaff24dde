// AddressGuardTests.swift — where webhooks may go, whoever names the URL or answers for its name.

import HTTPClient
import Mail
import TestSupport
import Testing

@testable import Departure

struct AddressGuardTests {
    @Test(arguments: [
        "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fec0::1", "fc00::1", "fd00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
        "2002:7f00:1::", "2001::1", "2001:db8::1", "100::1", "4000::1",
    ])
    func innerAddressesNeedAWord(_ text: String) throws {
        let address = try #require(IPAddress(text))
        #expect(!AddressGuard.mayGo(to: address, isSecure: true, allowsPrivate: false))
        #expect(!AddressGuard.mayGo(to: address, isSecure: false, allowsPrivate: false))
        #expect(AddressGuard.mayGo(to: address, isSecure: false, allowsPrivate: true) == !address.isUnspecified)
    }

    @Test(arguments: ["8.8.8.8", "172.32.0.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
    func theWorldIsAskedWithTLSOnly(_ text: String) throws {
        let address = try #require(IPAddress(text))
        #expect(AddressGuard.mayGo(to: address, isSecure: true, allowsPrivate: false))
        #expect(AddressGuard.mayGo(to: address, isSecure: true, allowsPrivate: true))
        #expect(!AddressGuard.mayGo(to: address, isSecure: false, allowsPrivate: true))
    }

    /// However a URL writes an address, what counts is the address that is connected to.
    @Test(arguments: [
        "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/",
        "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://localhost/", "https://LOCALHOST./",
        "https://a.localhost/",
        "https://inner.test/",
    ])
    func noSpellingHelps(_ text: String) async throws {
        let resolver = StaticResolver()
        resolver.setAddresses("inner.test", ["10.1.2.3", "127.0.0.1"])
        await #expect(throws: AddressGuard.Refusal.self) {
            let url = try WebURL(text)
            _ = try await AddressGuard.addresses(of: url, allowsPrivate: false, resolver)
        }
    }

    @Test func ofSeveralOnlyThoseThatMayBeAsked() async throws {
        let resolver = StaticResolver()
        resolver.setAddresses("both.test", ["10.1.2.3", "8.8.4.4"])
        let found = try await AddressGuard.addresses(of: WebURL("https://both.test/x"), allowsPrivate: false, resolver)
        #expect(found.map(\.description) == ["8.8.4.4"])
        await #expect(throws: AddressGuard.Refusal.self) {
            _ = try await AddressGuard.addresses(of: WebURL("https://nobody.test/"), allowsPrivate: true, resolver)
        }
    }
}

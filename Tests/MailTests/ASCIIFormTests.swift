// ASCIIFormTests.swift — names that the DNS knows otherwise than people write them.

import Testing

@testable import Mail

@Suite struct ASCIIFormTests {
    @Test(arguments: [
        ("bücher.example", "xn--bcher-kva.example"), ("BÜCHER.Example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"), ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("plain.example", "plain.example"), ("bu\u{308}cher.example", "xn--bcher-kva.example"),
    ])
    func writesALabels(name: String, expected: String) { #expect(ASCIIForm.of(name) == expected) }

    @Test(arguments: ["ü\0", String(repeating: "ü", count: 80) + ".example", "-ü.example"])
    func refusesWhatIsNoName(name: String) { #expect(ASCIIForm.of(name) == nil) }
}

// CrossOriginTests.swift — which pages of other origins may read the API.

import Mail
import Testing

@testable import Admin

struct CrossOriginTests {
    private static let allowed = ["https://dash.example.org"]

    private static func fields(_ origin: String?, _ allowed: [String] = allowed) -> [String: String] {
        let headers = origin.map { ["origin": $0] } ?? [:]
        let fields = CrossOrigin.fields(headers, allowed: allowed)
        return Dictionary(fields.map { ($0.name, $0.value) }) { first, _ in first }
    }

    @Test func nothingIsSaidUnlessSomebodyIsNamed() { #expect(Self.fields("https://dash.example.org", []).isEmpty) }

    @Test func theNamedOriginMayRead() {
        let fields = Self.fields("https://Dash.example.org")
        #expect(fields["Access-Control-Allow-Origin"] == "https://Dash.example.org")
        #expect(fields["Vary"] == "Origin")
        #expect(fields["Access-Control-Allow-Credentials"] == nil)
    }

    @Test(arguments: [
        nil, "null", "*", "https://evil.example", "http://dash.example.org", "https://dash.example.org:444",
    ])
    func othersMayNot(_ origin: String?) { #expect(Self.fields(origin) == ["Vary": "Origin"]) }

    @Test func aPreflightIsAnsweredForTheNamedOriginAlone() {
        func ask(_ method: String, _ origin: String, _ wanted: String?) -> AdminResponse? {
            var headers = ["origin": origin]
            headers["access-control-request-method"] = wanted
            return CrossOrigin.preflight(method, headers, allowed: Self.allowed)
        }
        #expect(ask("OPTIONS", "https://dash.example.org", "PATCH")?.status == 204)
        #expect(ask("OPTIONS", "https://dash.example.org", nil) == nil)
        #expect(ask("OPTIONS", "https://evil.example", "PATCH") == nil)
        #expect(ask("GET", "https://dash.example.org", "PATCH") == nil)
    }
}

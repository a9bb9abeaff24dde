// ReportTargetTests.swift — where a domain wants its reports, whatever its DNS says.

import Testing

@testable import TLSReports

struct ReportTargetTests {
    @Test(arguments: [
        (["v=TLSRPTv1; rua=mailto:tls@b.test"], ["mailto:tls@b.test"]),
        (["v=TLSRPTv1;rua=https://r.test/v1/tlsrpt"], ["https://r.test/v1/tlsrpt"]),
        (["v=TLSRPTv1; rua=mailto:a@b.test , https://r.test/x ;"], ["mailto:a@b.test", "https://r.test/x"]),
        (["v=TLSRPTv1; rua=MAILTO:a%40b.test?subject=no"], ["mailto:a@b.test"]),
        (["v=TLSRPTv1; foo=bar; rua=mailto:a@b.test; rua=mailto:c@b.test"], ["mailto:a@b.test"]),
        (["v=spf1 -all", "v=TLSRPTv1; rua=mailto:a@b.test"], ["mailto:a@b.test"]),
        // One too many is none (RFC 8460 §3).
        (["v=TLSRPTv1; rua=mailto:a@b.test", "v=TLSRPTv1; rua=mailto:b@b.test"], []),
        (["v=TLSRPTv2; rua=mailto:a@b.test"], []), (["rua=mailto:a@b.test; v=TLSRPTv1"], []), (["v=TLSRPTv1"], []),
        ([], []),
        (["v=TLSRPTv1; rua="], []), (["v=TLSRPTv1; rua=mailto:nobody"], []), (["v=TLSRPTv1; rua=mailto:a%4"], []),
        (["v=TLSRPTv1; rua=http://r.test/plain"], []), (["v=TLSRPTv1; rua=file:///etc/passwd"], []),
        (["v=TLSRPTv1; rua=mailto:a@b.test%0d%0aBcc:c@d.test"], []),
    ])
    func readsWhatCanBeServed(records: [String], targets: [String]) {
        #expect(ReportTarget.read(records).map(\.description) == targets)
    }

    @Test func servesAFewPlaces() {
        let many = (0..<100).map { "mailto:a\($0)@b.test" }.joined(separator: ",")
        #expect(ReportTarget.read(["v=TLSRPTv1; rua=\(many)"]).count == 4)
    }
}

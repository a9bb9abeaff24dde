// TLSSettingsTests.swift — `tls.ini`, the files it names, and the clients whose certificates count.

import Mail
import Testing

@testable import Config

struct TLSSettingsTests {
    private let pair = ["tls_key.pem": "KEY", "tls_cert.pem": "CERT"]

    @Test func thereIsNoTLSWithoutFiles() throws {
        #expect(try read([:]).settings.tls == TLSSettings())
        #expect(try !read(["tls.ini": "requestCert=true"]).settings.tls.isAvailable)
    }

    @Test func readsTheDefaultPair() throws {
        let tls = try read(pair).settings.tls
        #expect(tls.isAvailable)
        #expect(tls.files.key == Array("KEY".utf8))
        #expect(tls.files.certificates == Array("CERT".utf8))
        #expect(!"\(tls.files)".contains("KEY"))
    }

    @Test func readsEveryKey() throws {
        let text = """
            key=a.pem
            cert=b.pem
            ciphers=ECDHE+CHACHA20:TLS_AES_128_GCM_SHA256
            minVersion=tlsv1.3
            honorCipherOrder=no
            requestCert=yes
            clientCA=ca.pem
            [Mail.example.org]
            cert=c.pem
            key=d.pem
            [*.example.com]
            key=a.pem
            cert=b.pem
            """
        let files = ["tls.ini": text, "a.pem": "A", "b.pem": "B", "c.pem": "C", "d.pem": "D", "ca.pem": "CA"]
        let tls = try read(files).settings.tls
        #expect(tls.files.key == Array("A".utf8))
        #expect(tls.minimumVersion == "TLSv1.3")
        #expect(!tls.honorsCipherOrder)
        #expect(tls.requestsCertificate)
        #expect(tls.clientAuthorities == Array("CA".utf8))
        #expect(tls.named.map(\.name) == ["mail.example.org", "*.example.com"])
        #expect(tls.named.first?.files.certificates == Array("C".utf8))
        #expect(tls.named.first?.files.key == Array("D".utf8))
    }

    @Test(arguments: [
        (
            "minVersion=TLSv1.1",
            "tls.ini:1: minVersion: \"TLSv1.1\" is neither TLSv1.2 nor TLSv1.3; older ones are broken"
        ),
        ("key=missing.pem", "tls.ini: there is no file missing.pem"),
        ("[mail.example.org]\nkey=tls_key.pem", "tls.ini: [mail.example.org] needs both key and cert"),
        ("[mail.example.org]\nkey=tls_key.pem\ncert=no.pem", "tls.ini: there is no file no.pem"),
        (
            "[no name.test]\nkey=tls_key.pem",
            "tls.ini:2: key: [no name.test] is no host name, such as mail.example.com or *.example.com"
        ),
        ("clientCA=no.pem", "tls.ini: there is no file no.pem"),
        ("cert=", "tls.ini:1: cert: the name of a file is missing"),
    ])
    func saysWhatIsWrong(_ text: String, _ error: String) {
        #expect(errors(pair.merging(["tls.ini": text]) { $1 }) == [error])
    }

    @Test func halfAPairIsNone() {
        #expect(errors(["tls_key.pem": "KEY"]) == ["tls.ini: there is no file tls_cert.pem"])
    }

    @Test func unknownKeysAreWarnings() throws {
        let result = try read(["tls.ini": "cihpers=x\n[mail.example.org]\nport=1", "outbound.ini": "enable_tls = true"])
        #expect(result.warnings.count == 2)
        #expect(result.warnings.first?.reason == "unknown key cihpers; did you mean ciphers?")
    }

    @Test func implicitTLSNeedsAPair() throws {
        var files = ["smtp.ini": "smtps_listen=127.0.0.1:465"]
        #expect(errors(files).first?.contains("smtps_listen needs a certificate") == true)
        files.merge(pair) { $1 }
        #expect(try read(files).settings.listener.smtpsListen.map(\.description) == ["127.0.0.1:465"])
    }

    @Test func readsFingerprints() throws {
        let digits = String(repeating: "aB", count: 32)
        let colons = (0..<32).map { _ in "01" }.joined(separator: ":")
        let text = "; a comment\n\(digits)\nsha256 Fingerprint=\(colons)\n"
        let outbound = "enable_tls = true"
        let result = try read(["relay_acl_certs": text, "tls.ini": "requestCert=true", "outbound.ini": outbound])
        let expected: Set<[UInt8]> = [[UInt8](repeating: 0xAB, count: 32), [UInt8](repeating: 1, count: 32)]
        #expect(result.settings.relayCertificates == expected)
        #expect(result.warnings.isEmpty)
        #expect(try read(["relay_acl_certs": text, "outbound.ini": outbound]).warnings.count == 1)
    }

    @Test(arguments: ["abcd", String(repeating: "g", count: 64), String(repeating: "a", count: 66)])
    func refusesWhatIsNoFingerprint(_ line: String) {
        #expect(errors(["relay_acl_certs": line]).first?.hasPrefix("relay_acl_certs:1: ") == true)
    }

    @Test func aNewCertificateIsANewConfiguration() throws {
        let source = MemoryConfig(pair)
        let store = try SettingsStore(source, hostName: "relay.example.org", now: Timestamp(milliseconds: 10_000))
        _ = store.reloadIfChanged(now: Timestamp(milliseconds: 11_000))
        source.write("tls_cert.pem", "CERT 2", now: 12_000)
        guard store.reloadIfChanged(now: Timestamp(milliseconds: 13_000)).isChanged else {
            Issue.record("a certificate that changed is not seen")
            return
        }
        #expect(store.current.tls.files.certificates == Array("CERT 2".utf8))
    }
}

// RouteDraftTests.swift — a section and JSON become a section.

import Config
import JSON
import Mail
import Testing

@testable import Admin

@Suite struct RouteDraftTests {
    private static let login = "[a.test]\nmx = h.test:587\nauth_user = u\nauth_pass = geheim\ntls = verify\n"
    private static let grant =
        "[a.test]\nmx = h.test:587\nauth_user = u\noauth_token_url = https://t.test/a\noauth_client_id = c\n"
        + "oauth_client_secret = geheim\noauth_refresh_token = geheim\n"
    private static let two =
        "[a.test]\nmx = h.test:587 auth_pass=eins\nmx = g.test:587 auth_pass=zwei\nauth_user = u\n"

    @Test(arguments: [
        (#"{"mx":["h.test"],"bind":"203.0.113.9"}"#, "/bind"),
        (#"{"mx":[{"exchange":"g.test"},{"exchange":"h.test","bind":"203.0.113.9"}]}"#, "/mx/1/bind"),
        (#"{"mx":["h.test"],"bind":"::"}"#, "/bind"),
    ])
    func anAddressThatIsNotOursIsPointedAt(body: String, pointer: String) throws {
        var draft = RouteDraft(nil, isLocal: { $0 != IPAddress("203.0.113.9") })
        let object = try JSONObject(try JSON(parsing: Array(body.utf8)), at: "")
        #expect { try draft.apply(object, isPatch: false) } throws: { error in
            (error as? Problem)?.issues.first?.pointer == pointer
        }
    }

    /// The file behind a change, or the pointer of the refusal.
    private static func change(_ text: String, _ body: String, isPatch: Bool) -> (text: String?, pointer: String?) {
        var document = INIDocument(parsing: text)
        let known = RouteSection.all(in: document)["a.test"]
        guard let json = try? JSON(parsing: Array(body.utf8)) else { return (nil, "JSON") }
        do throws(Problem) {
            var draft = RouteDraft(known?.section)
            try draft.apply(try JSONObject(json, at: ""), isPatch: isPatch)
            let section = try draft.section()
            if known != nil, draft.isUnchanged(section) { return (text, nil) }
            do throws(RouteSection.Unwritable) { try section.write(to: &document, section: "a.test") } catch {
                return (nil, "/mx/\(error.host)/\(error.property.rawValue)")
            }
            return (document.text, nil)
        } catch {
            return (nil, error.issues.first?.pointer)
        }
    }

    @Test(
        arguments: [
            // (file, PATCH, what the file says then; nil: nothing changes)
            (login, #"{"tls":"dane"}"#, "[a.test]\nmx = h.test:587\nauth_user = u\nauth_pass = geheim\ntls = dane\n"),
            (login, #"{"tls":"verify"}"#, nil), (login, #"{}"#, nil), (login, #"{"using_lmtp":false}"#, nil),
            (login, #"{"auth_user":null}"#, "[a.test]\nmx = h.test:587\ntls = verify\n"),
            (
                login, #"{"auth_pass":"neu"}"#,
                "[a.test]\nmx = h.test:587\nauth_user = u\nauth_pass = neu\ntls = verify\n"
            ),
            (
                login, #"{"tls":"off","auth_pass":"neu"}"#,
                "[a.test]\nmx = h.test:587\nauth_user = u\nauth_pass = neu\ntls = off\n"
            ),
            (login, #"{"mx":["g.test"]}"#, "[a.test]\nmx = g.test\n"),
            (
                login, #"{"mx":["h.test:587","g.test"],"tls":"verify"}"#,
                "[a.test]\nmx = h.test:587 auth_user=u auth_pass=geheim\nmx = g.test\ntls = verify\n"
            ),
            (login, #"{"mx":[],"direct":true}"#, "[a.test]\ndirect = true\n"),
            (two, #"{"mx":["g.test:587"]}"#, "[a.test]\nmx = g.test:587\nauth_user = u\nauth_pass = zwei\n"),
            (
                two, #"{"mx":["g.test:587","h.test:587"]}"#,
                "[a.test]\nmx = g.test:587 auth_pass=zwei\nmx = h.test:587 auth_pass=eins\nauth_user = u\n"
            ),
            (grant, #"{"oauth_scope":"s"}"#, grant + "oauth_scope = s\n"),
            (
                "[a.test]\nmx = smtp://u:p@h.test:587\n", #"{"tls":"verify"}"#,
                "[a.test]\nmx = h.test:587\nauth_user = u\nauth_pass = p\ntls = verify\n"
            ),
        ] as [(String, String, String?)]
    )
    func patches(text: String, body: String, expected: String?) throws {
        let (changed, pointer) = Self.change(text, body, isPatch: true)
        let before = try #require(RouteSection.all(in: INIDocument(parsing: expected ?? text))["a.test"]?.section)
        let after = try #require(
            RouteSection.all(in: INIDocument(parsing: changed ?? ""))["a.test"]?.section,
            "\(pointer ?? "")"
        )
        #expect(after.flattened == before.flattened, "\(changed ?? "")")
        if expected == nil { #expect(changed == text) }
    }

    @Test(
        arguments: [
            // (file, PATCH or PUT, pointer of the refusal)
            (login, true, #"{"tls":"off"}"#, "/auth_pass"), (login, true, #"{"tls":null}"#, "/auth_pass"),
            (login, true, #"{"auth_user":"v"}"#, "/auth_pass"), (login, true, #"{"using_lmtp":true}"#, "/auth_pass"),
            (login, true, #"{"mx":["h.test:25"]}"#, "/mx/0/auth_pass"),
            (login, true, #"{"mx":[{"exchange":"h.test","port":25,"auth_user":"u"}]}"#, "/mx/0/auth_pass"),
            (login, true, #"{"mx":["h.test:587"],"tls":"may"}"#, "/mx/0/auth_pass"),
            (
                login, false,
                #"{"mx":[{"exchange":"h.test","port":25,"auth_user":"u","auth_pass_set":true,"tls":"verify"}]}"#,
                "/mx/0/auth_pass"
            ),
            (
                login, false, #"{"mx":[{"exchange":"h.test","port":587,"auth_user":"u","auth_pass_set":true}]}"#,
                "/mx/0/auth_pass"
            ),
            (
                login, false, #"{"mx":[{"exchange":"g.test","port":587,"auth_user":"u","auth_pass_set":true}]}"#,
                "/mx/0/auth_pass"
            ),
            (
                login, false,
                #"{"mx":[{"exchange":"h.test","port":587,"auth_user":"v","auth_pass_set":true,"tls":"verify"}]}"#,
                "/mx/0/auth_pass"
            ),
            ("", false, #"{"mx":[{"exchange":"h.test","auth_user":"u","auth_pass_set":true}]}"#, "/mx/0/auth_pass"),
            (grant, true, #"{"oauth_token_url":"https://evil.test/"}"#, "/oauth_client_secret"),
            (
                grant, true, #"{"oauth_token_url":"https://evil.test/","oauth_client_secret":"x"}"#,
                "/oauth_refresh_token"
            ),
            (grant, true, #"{"oauth_token_url":"http://127.0.0.1:80@evil.test/"}"#, "/oauth_token_url"),
            (grant, true, #"{"oauth_token_url":"http://evil.test/"}"#, "/oauth_token_url"),
            (grant, true, #"{"mx":["h.test:25"]}"#, "/mx/0/oauth_client_secret"),
            ("[a.test]\nmx = smtp://u:%40env:X@h.test:587\n", true, #"{"tls":"off"}"#, "/auth_pass"),
            ("", false, #"{"mx":["h.test"],"auth_user":"u","auth_pass":"a ;b"}"#, "/auth_pass"),
            ("", false, #"{"mx":["h.test"],"auth_user":"u","auth_pass":" a"}"#, "/auth_pass"),
            ("", false, #"{"mx":[{"exchange":"h.test","auth_user":"u","auth_pass":"a "}]}"#, "/mx/0/auth_pass"),
            (
                "", false,
                #"{"mx":[{"exchange":"h.test","auth_pass":"a b"},"g.test"],"auth_user":"u","auth_pass":"c"}"#,
                "/mx/0/auth_pass"
            ),
            ("", false, #"{"mx":["h.test"],"auth_user":"u","auth_pass":"@env:\u0301PATH"}"#, "/auth_pass"),
            ("", false, #"{"mx":["h.test"],"auth_user":"u","auth_pass":"@file:\u0301/etc/x"}"#, "/auth_pass"),
            ("", false, #"{"mx":["h.test"],"auth_user":"u","auth_pass":""}"#, "/auth_pass"),
            ("", false, #"{"mx":["h.test"],"tls":"must"}"#, "/tls"), ("", false, #"{"mx":["h.test,g.test"]}"#, "/mx/0"),
            ("", false, #"{"mx":["h.test"],"auth_user":"u"}"#, "/mx/0"),
            ("", false, #"{"mx":["h.test tls=off"]}"#, "/mx/0"),
            ("", false, #"{"mx":[{"exchange":"h.test","bind_helo":"a b"}]}"#, "/mx/0/bind_helo"),
            ("", false, #"{"mx":[]}"#, "/mx"), ("", false, #"{"mx":["h.test"],"direct":true}"#, "/direct"),
        ] as [(String, Bool, String, String)]
    )
    func refuses(text: String, isPatch: Bool, body: String, pointer: String) {
        let found = Self.change(text, body, isPatch: isPatch)
        #expect(found.pointer == pointer, "\(found.text ?? "")")
    }

    @Test(arguments: [
        login, grant, two,
        "[a.test]\nmx = b.test, c.test port=26 ; why\n; a comment\npriority = 3\n",
        "[a.test]\nmx = smtp://u:p@h.test\n", "[a.test]\ndirect = yes\n",
        "[a.test]\nusing_lmtp = true\nmx = /run/lmtp\n", "[A.test]\nmx = [::1]:26 bind=::1\nbind_helo = x.test\n",
        "[a.test]\nmx = h.test\nauth_user = u\nauth_pass = @file:secrets/x ; there\n",
    ])
    func whatComesOutGoesInWithoutAChange(text: String) throws {
        let routes = try #require(RouteSection.all(in: INIDocument(parsing: text))["a.test"]?.section)
        let hosts = try routes.hostsInOrder()
        let shown = RouteView.route(
            Routes.Entry(match: "a.test", way: hosts.isEmpty ? .direct : .hosts(hosts)),
            from: nil
        )
        guard case .object(let members) = shown else { return }
        let body = JSON.object(members.filter { !["match", "origin", "variable"].contains($0.name) })
        for isPatch in [false, true] {
            let found = Self.change(text, String(decoding: body.bytes, as: UTF8.self), isPatch: isPatch)
            #expect(found.text == text, "\(found.pointer ?? "") \(String(decoding: body.bytes, as: UTF8.self))")
        }
    }
}

// DeviceGrantTests.swift — logins with a code and through a browser: what follows each answer.

import HTTPClient
import Mail
import Testing

@testable import Departure

struct DeviceGrantTests {
    private func answer(_ status: Int, _ text: String) -> HTTPResponse {
        HTTPResponse(status: status, headers: [], body: Array(text.utf8))
    }

    private func code(_ more: String = "") throws(TokenError) -> DeviceCode {
        try DeviceCode(
            answer(
                200,
                #"{"device_code":"dev","user_code":"ABCD-EFGH","verification_uri":"https://login.example/d"\#(more)}"#
            )
        )
    }

    private func words(_ step: DeviceCode.Step) -> String {
        switch step {
        case .granted(let granted): "granted \(granted.refreshToken?.revealed ?? "-")"
        case .wait(let seconds): "wait \(seconds)"
        case .fail(let error): "fail \(error.word ?? "-")"
        }
    }

    @Test(arguments: [
        (400, #"{"error":"authorization_pending"}"#, "wait 5"), (400, #"{"error":"slow_down"}"#, "wait 10"),
        (400, #"{"error":"expired_token"}"#, "fail expired_token"),
        (400, #"{"error":"code_expired"}"#, "fail code_expired"),
        (400, #"{"error":"access_denied"}"#, "fail access_denied"),
        (400, #"{"error":"authorization_declined"}"#, "fail authorization_declined"),
        (401, #"{"error":"invalid_client"}"#, "fail invalid_client"), (200, "{}", "fail -"), (404, "<html>", "fail -"),
        (429, "", "wait 10"), (503, "", "wait 10"),
        (200, #"{"access_token":"a","refresh_token":"r"}"#, "granted r"),
        (200, #"{"access_token":"a"}"#, "granted -"),
    ])
    func everyAnswerHasItsStep(_ status: Int, _ body: String, _ step: String) throws {
        #expect(words(try code().step(after: .success(answer(status, body)))) == step)
    }

    @Test func whoCannotBeReachedIsAskedLessOften() throws {
        let code = try code(#","interval":7"#)
        #expect(words(code.step(after: .failure(HTTPError(.timedOut, "")))) == "wait 14")
        #expect(words(code.step(after: .failure(HTTPError(.cannotConnect, "")))) == "wait 14")
        // Nobody who is not who he says is asked again.
        #expect(words(code.step(after: .failure(HTTPError(.tls, "")))) == "fail -")
    }

    @Test func whatAServerSaysIsBounded() throws {
        let code = try code(#","interval":-3,"expires_in":99999999"#)
        #expect(code.interval == 1)
        #expect(code.life == 3600)
        let odd = #"{"device_code":"d","user_code":"A\u001b[2JB","verification_url":"https://x/\n\u0007"}"#
        let shown = try DeviceCode(answer(200, odd))
        #expect(shown.userCode == "A?[2JB")
        #expect(shown.address == "https://x/??")
        #expect("\(shown.code)" == "(secret)")
        #expect(throws: TokenError.self) { try DeviceCode(answer(400, #"{"error":"invalid_scope"}"#)) }
    }

    @Test func nothingIsAskedInTheClear() throws {
        #expect(DeviceCode.request("http://login.example/", clientID: "c", clientSecret: nil, scope: "s") == nil)
        #expect(try code().question("http://login.example/", clientID: "c", clientSecret: nil) == nil)
    }

    // MARK: the browser

    @Test func theAddressComesBackWithItsState() throws {
        let grant = try BrowserGrant(clientID: "client")
        let address = try #require(grant.address(at: .google(), scope: "https://mail.google.com/"))
        #expect(address.contains("code_challenge_method=S256&access_type=offline&prompt=consent"))
        #expect(address.contains("scope=https%3A%2F%2Fmail.google.com%2F"))
        let state = try #require(address.split(separator: "&").first { $0.hasPrefix("state=") })
        let code = try grant.code(in: "http://127.0.0.1:8085/?\(state)&code=4%2F0Ab&scope=x#end")
        #expect(code.revealed == "4/0Ab")
        #expect(try grant.code(in: "4%2F0Ab").revealed == "4/0Ab")
        for wrong in ["http://127.0.0.1:8085/?state=other&code=x", "http://127.0.0.1:8085/?\(state)", ""] {
            #expect(throws: TokenError.self) { try grant.code(in: wrong) }
        }
        do throws(TokenError) {
            _ = try grant.code(in: "http://127.0.0.1:8085/?error=access_denied&\(state)")
            Issue.record("no error")
        } catch { #expect(error.word == "access_denied") }
    }

    @Test func aProviderDescribesItself() throws {
        let text = """
            {"token_endpoint":"https://x.example/t","device_authorization_endpoint":"http://x.example/d",\
            "authorization_endpoint":"https://x.example/a"}
            """
        let found = try #require(OAuthProvider.described(by: Array(text.utf8)))
        #expect(found.tokenURL == "https://x.example/t")
        #expect(found.deviceURL == nil, "in the clear")
        #expect(OAuthProvider.described(by: Array(#"{"token_endpoint":"http://x.example/t"}"#.utf8)) == nil)
    }
}

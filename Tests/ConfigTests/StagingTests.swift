// StagingTests.swift — mail that goes nowhere real: which section decides, and what is no section.

import Mail
import TestSupport
import Testing

@testable import Config

struct StagingTests {
    private static let file = """
        [staging login app]
        redirect = team@o.example
        [staging listener test]
        sink = true
        [staging client 10.0.0.0/8]
        sink = true
        senders = s.example
        [staging]
        redirect = all@o.example
        senders = s.example, t.example
        """

    @Test(arguments: try TruthTable.load("staging").rows)
    func decides(_ row: TruthTable.Row) throws {
        let sections = try Rewriting.read(INIDocument(parsing: Self.file)).staging
        var warnings: [ConfigError] = []
        let listeners = try ListenerSettings.read(
            INIDocument(parsing: "[listener test]\nlisten = 127.0.0.1:2599\n"),
            warnings: &warnings
        )
        let login = try row.cell("login")
        let way = WayIn(
            .smtp(ListenAddress(try row.cell("at"))),
            client: IPAddress(try row.cell("client")),
            login: login == "-" ? nil : login
        )
        let text = try row.cell("sender")
        let sender: ReversePath = text == "<>" ? .null : .address(try #require(EmailAddress(text)))
        let goes =
            switch Staging.section(of: sections, for: way, from: sender, listeners)?.target {
            case .redirect(let address)?: "\(address)"
            case .sink?: "sink"
            case nil: "-"
            }
        #expect(goes == (try row.cell("goes")))
    }

    @Test(arguments: [
        ("[staging]\n", "rewrite.ini:1: [staging] needs redirect = ADDRESS, or sink = true"),
        ("[staging]\nsink = false\n", "rewrite.ini:1: [staging] needs redirect = ADDRESS, or sink = true"),
        ("[staging]\nsink = true\nredirect = a@b.example\n", "rewrite.ini:1: [staging] needs redirect"),
        ("[staging]\nredirect = team\n", "rewrite.ini:2: redirect: \"team\" is no address in ASCII"),
        ("[staging]\nredirects = a@b.example\n", "rewrite.ini:2: unknown key redirects; did you mean redirect?"),
        ("[staging]\nsink = true\nsenders = no..one\n", "rewrite.ini:3: \"no..one\" is not a domain"),
        ("[staging nowhere x]\nsink = true\n", "rewrite.ini:1: [staging nowhere x] is not senders"),
    ])
    func saysWhatIsWrong(text: String, reason: String) {
        let error = #expect(throws: ConfigErrors.self) { try Rewriting.read(INIDocument(parsing: text)) }
        #expect(error?.errors.first?.description.hasPrefix(reason) == true, "\(String(describing: error))")
    }
}

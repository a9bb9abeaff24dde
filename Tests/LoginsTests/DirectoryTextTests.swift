// DirectoryTextTests.swift — logins in filters and DNs, and the templates that they stand in.

import Config
import Testing

@testable import Logins

struct DirectoryTextTests {
    @Test(arguments: [
        ("alice@a.test", "(mail=alice@a.test)", "uid=alice@a.test,dc=x"),
        ("*", "(mail=\\2a)", "uid=\\2a,dc=x"),
        (
            "a)(uid=*))(|(uid=*", "(mail=a\\29\\28uid=\\2a\\29\\29\\28|\\28uid=\\2a)",
            "uid=a\\29\\28uid\\3d\\2a\\29\\29\\28\\7c\\28uid\\3d\\2a,dc=x"
        ),
        ("a,dc=y", "(mail=a,dc=y)", "uid=a\\2cdc\\3dy,dc=x"),
        ("a\\b", "(mail=a\\5cb)", "uid=a\\5cb,dc=x"),
        ("é\u{0}", "(mail=\\c3\\a9\\00)", "uid=\\c3\\a9\\00,dc=x"),
        ("%u", "(mail=%u)", "uid=\\25u,dc=x"),
    ])
    func nothingOfALoginMeansAnything(_ login: String, _ filter: String, _ name: String) {
        #expect(LoginSettings.Template("(mail=%u)")?.filled(login, DirectoryText.inFilter) == filter)
        #expect(LoginSettings.Template("uid=%u,dc=x")?.filled(login, DirectoryText.inName) == name)
    }

    @Test func templatesKnowTheParts() {
        let template = LoginSettings.Template("%%%l|%d|%u")
        #expect(template?.filled("a@b.test") { $0 } == "%a|b.test|a@b.test")
        #expect(template?.filled("a") { $0 } == "%a||a")
        #expect(LoginSettings.Template("none") == nil && LoginSettings.Template("%x%u") == nil)
        #expect(LoginSettings.Template("%u%") == nil)
    }

    @Test(arguments: [
        ("[oauth]\n", "logins.ini:1: [oauth] is neither"),
        ("[oauth a]\nkeys = k\naudience = x\n", "logins.ini:1: [oauth a] has no issuer"),
        ("[oauth a]\nissuer = i\nkeys = k\n", "logins.ini:1: [oauth a] has no audience"),
        ("[oauth a]\nissuer = i\nkeys = http://id.example/k\naudience = x\n", "logins.ini:3: keys: https"),
        ("[ldap a]\nurl = http://x\nbase = b\n", "logins.ini:2: \"http://x\" is not ldap://"),
        ("[ldap a]\nurl = ldap://x\n", "logins.ini:1: [ldap a] has user_dn or base"),
        ("[ldap a]\nurl = ldap://x\nbase = b\nbind_dn = c\n", "logins.ini:1: [ldap a] has bind_dn and bind_password"),
        ("[ldap a]\nurl = ldap://x\nuser_dn = uid=me\n", "logins.ini:3: \"uid=me\" has no %u"),
        ("[ldap a]\nurl = ldaps://x\nstarttls = yes\nbase = b\n", "logins.ini:1: [ldap a] has TLS from the start"),
        ("[ldap a]\nurl = ldap://x\nuser = b\n", "logins.ini:3: unknown key user"),
    ])
    func saysWhatIsWrongAndWhere(_ text: String, _ complaint: String) {
        let error = #expect(throws: ConfigErrors.self) { try LoginSettings.read(INIDocument(parsing: text)) }
        let words = error.map { $0.errors.map { "\($0)" } } ?? []
        #expect(words.contains { $0.hasPrefix(complaint) }, "\(words)")
    }
}

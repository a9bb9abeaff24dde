// OAuthCommand.swift — `martlet oauth login`: gets a refresh token and puts it where `routes.ini` finds it.
//
// Guarantee: no token and no secret is printed; the refresh token is on disk, for its owner alone, before it is said to be.

import ArgumentParser
import Config
import Departure
import Files
import Glibc
import HTTPClient
import Mail
import OpenSSL
import Operator

/// The sub-commands about OAuth.
struct OAuthCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "oauth",
        abstract: "Log in at Microsoft 365, Google and others without a password.",
        subcommands: [OAuthLogin.self]
    )
}

extension OAuthProvider.Flow: ExpressibleByArgument {}

/// Gets a refresh token.
struct OAuthLogin: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "login",
        abstract: "Log in once, and keep the refresh token that sends mail from then on.",
        discussion: """
            Prints a code and an address: open the address on any machine, log in as the mailbox that sends, and type the \
            code. Google gives no codes for mail: there an address is opened in a browser, and the address that the browser \
            ends at is pasted here. The lines for routes.ini are printed at the end; the refresh token is never shown.
            """
    )

    @Argument(help: "microsoft, google, or the address of another provider.")
    var provider: String
    @Option(help: "The id of the application that is registered with the provider.")
    var clientID: String
    @Option(help: "Its secret, where it has one; better @file:PATH or @env:NAME, since others see command lines.")
    var clientSecret: String?
    @Option(help: "Microsoft: the tenant, by its id or domain.")
    var tenant = "organizations"
    @Option(help: "What the token is for, instead of the usual.")
    var scope: String?
    @Flag(help: "For mail over HTTPS (https+graph) instead of SMTP.")
    var api = false
    @Option(help: "device (a code) or code (a browser).")
    var flow: OAuthProvider.Flow?
    @Option(help: "The mailbox, for the lines that are printed.")
    var user = "relay@example.org"
    @Option(help: "The file for the refresh token; relative to the configuration directory.")
    var output: String?
    @Option(help: "Another cloud of the provider, such as https://login.microsoftonline.us.")
    var endpoint: String?
    @Flag(help: "Replace a refresh token that is there.")
    var force = false
    @OptionGroup var place: ConfigOption

    func validate() throws {
        guard Domain(tenant) != nil else { throw ValidationError("--tenant is an id or a domain") }
        guard !clientID.isEmpty else { throw ValidationError("--client-id is missing") }
        guard endpoint.map({ (try? WebURL($0).isConfidential) ?? false }) ?? true else {
            throw ValidationError("--endpoint is an https URL")
        }
    }

    func run() throws {
        let (environment, _) = Environment.ofThisProcess()
        let directory = place.directory(environment)
        let client = HTTPClient()
        let found = try server(client)
        let secret = try clientSecret.map { try Self.secret($0, directory, environment) }
        guard let scope = scope ?? (api ? found.apiScope : found.scope) else {
            throw CommandFailure("--scope is missing: what the provider calls the right to send mail")
        }
        let file = TokenFile(output ?? "secrets/\(found.name)-refresh", in: directory)
        try file.check(mayReplace: force)
        let login = ProviderLogin(client: client, provider: found, clientID: clientID, secret: secret, scope: scope)
        let granted = try login.run(flow ?? found.flow)
        guard let token = granted.refreshToken else {
            throw CommandFailure(
                "the provider gave no refresh token: ask for one in --scope (offline_access), or allow it in its console"
            )
        }
        try file.write(token)
        Printer.say(
            "The refresh token is in \(file.path), mode 600; the user that martlet runs as must be able to read it."
        )
        print(lines(found, scope, file).joined(separator: "\n"))
    }

    private func server(_ client: HTTPClient) throws -> OAuthProvider {
        let base = endpoint.map { $0.rest(before: "/").map(String.init) ?? $0 }
        switch provider {
        case "microsoft":
            guard let base else { return .microsoft(tenant: tenant) }
            return .microsoft(tenant: tenant, at: base)
        case "google": return .google(at: base)
        default: return try described(client)
        }
    }

    private func described(_ client: HTTPClient) throws -> OAuthProvider {
        guard let url = try? WebURL(provider), url.isConfidential else {
            throw CommandFailure("\(provider) is neither microsoft nor google nor an https URL")
        }
        let base = provider.rest(before: "/").map(String.init) ?? provider
        let usual = "/.well-known/openid-configuration"
        var request = HTTPRequest("GET", base.ends(withOctets: usual) ? base : base + usual)
        request.usesProxyOfEnvironment = true
        do throws(HTTPError) {
            let response = try client.send(request)
            if response.status == 200, let found = OAuthProvider.described(by: response.body) { return found }
            throw HTTPError(
                .broken,
                "\(request.url) answered \(response.status), and nothing that describes a provider"
            )
        } catch {
            throw CommandFailure(error.text)
        }
    }

    private static func secret(_ value: String, _ directory: String, _ environment: Environment) throws -> Secret {
        switch SecretReference(value) {
        case .plain(let text): return Secret(text)
        case .variable(let name):
            guard let text = try? environment.secret(name) else {
                throw CommandFailure("the environment has no \(name)")
            }
            return Secret(text)
        case .file(let path):
            let whole = path.starts(withOctets: "/") ? path : "\(directory)/\(path)"
            do {
                return Secret(try GivenText.value(try LinuxDisk().contents(of: whole, limit: 64 << 10)))
            } catch {
                throw CommandFailure("\(error)")
            }
        }
    }

    private func lines(_ found: OAuthProvider, _ scope: String, _ file: TokenFile) -> [String] {
        let secretLine = clientSecret.map { value in
            SecretReference(value).isElsewhere ? value : "@file:secrets/\(found.name)-client"
        }
        return [
            "[*]", "mx                  = \(api ? "https+graph:" : found.smartHost ?? "smtp.example.net:587")",
            "auth_user           = \(user)", "oauth_token_url     = \(found.tokenURL)",
            "oauth_client_id     = \(clientID)",
        ] + (secretLine.map { ["oauth_client_secret = \($0)"] } ?? []) + [
            "oauth_refresh_token = @file:\(file.name)", "oauth_scope         = \(scope)",
        ]
    }
}

/// Words for people on standard error; standard output is for what goes into files.
private enum Printer {
    static func say(_ text: String) {
        let bytes = Array((text + "\n").utf8)
        _ = Glibc.write(STDERR_FILENO, bytes, bytes.count)
    }
}

/// Where the refresh token goes.
private struct TokenFile {
    /// As `@file:` names it.
    let name: String
    let path: String
    private let disk = LinuxDisk()

    init(_ name: String, in directory: String) {
        self.name = name
        path = name.starts(withOctets: "/") ? name : "\(directory)/\(name)"
    }

    /// Before somebody goes through a login in vain.
    func check(mayReplace: Bool) throws {
        do throws(DiskError) {
            if let parent = path.lastIndex(ofOctet: "/"), parent > path.startIndex {
                try disk.makeDirectory(String(path[..<parent]), permissions: 0o700)
            }
            if mayReplace { return }
            if try disk.status(path, following: true) == nil { return }
        } catch {
            throw CommandFailure("\(error)")
        }
        throw CommandFailure("\(path) is there already; --force replaces it")
    }

    func write(_ token: Secret) throws {
        do throws(DiskError) {
            try disk.replace(path, with: Array((token.revealed + "\n").utf8), permissions: 0o600)
        } catch {
            throw CommandFailure("the refresh token cannot be written, and is lost: \(error)")
        }
    }
}

/// One login at one provider.
private struct ProviderLogin {
    let client: HTTPClient
    let provider: OAuthProvider
    let clientID: String
    let secret: Secret?
    let scope: String

    func run(_ flow: OAuthProvider.Flow) throws -> Granted {
        do throws(TokenError) {
            switch flow {
            case .device: return try device()
            case .code: return try browser()
            }
        } catch {
            throw CommandFailure(Self.words(error))
        }
    }

    private func device() throws(TokenError) -> Granted {
        guard let url = provider.deviceURL else {
            throw TokenError("\(provider.name) gives no codes for mail; use --flow code")
        }
        guard let request = DeviceCode.request(url, clientID: clientID, clientSecret: secret, scope: scope)
        else { throw TokenError("the provider is not asked by https") }
        var code = try DeviceCode(try answer(request))
        Printer.say("Open \(code.address) and type the code \(code.userCode)")
        Printer.say("Waiting for that, for \((code.life + 59) / 60) minutes at most; Ctrl-C gives up.")
        let end = ContinuousClock.now + .seconds(code.life)
        while true {
            guard ContinuousClock.now + .seconds(code.interval) <= end else {
                throw TokenError("the code has ended before anybody typed it", word: "expired_token")
            }
            sleep(UInt32(code.interval))
            guard let asking = code.question(provider.tokenURL, clientID: clientID, clientSecret: secret) else {
                throw TokenError("the provider is not asked by https")
            }
            let answer: Result<HTTPResponse, HTTPError>
            do throws(HTTPError) { answer = .success(try client.send(asking)) } catch { answer = .failure(error) }
            switch code.step(after: answer) {
            case .granted(let granted): return granted
            case .wait(let seconds): code.interval = seconds
            case .fail(let error): throw error
            }
        }
    }

    private func browser() throws(TokenError) -> Granted {
        guard let grant = try? BrowserGrant(clientID: clientID),
            let address = grant.address(at: provider, scope: scope)
        else { throw TokenError("\(provider.name) has no way through a browser; use --flow device") }
        Printer.say("Open this address in a browser, log in as the mailbox that sends, and agree:\n\n\(address)\n")
        Printer.say(
            "The browser ends at an address that begins with \(BrowserGrant.redirect) and shows an error, which is right."
        )
        Printer.say("Paste that address here:")
        let code = try grant.code(in: String((readLine() ?? "").trimmed))
        guard let request = grant.question(code, to: provider.tokenURL, clientSecret: secret) else {
            throw TokenError("the provider is not asked by https")
        }
        return try TokenRequest.read(try answer(request)).get()
    }

    private func answer(_ request: HTTPRequest) throws(TokenError) -> HTTPResponse {
        do throws(HTTPError) { return try client.send(request) } catch {
            throw TokenError("the provider cannot be reached: \(error.text)")
        }
    }

    /// What to do about the words that come up.
    private static func words(_ error: TokenError) -> String {
        let remedy =
            switch error.word {
            case "invalid_client": "see --client-id and --client-secret; at Microsoft, allow public client flows"
            case "unauthorized_client": "at Microsoft, allow public client flows for the application"
            case "invalid_scope": "the application may not ask for this scope; at Google, use --flow code"
            case "invalid_grant", "expired_token": "begin again"
            default: ""
            }
        return remedy.isEmpty ? error.reason : "\(error.reason): \(remedy)"
    }
}

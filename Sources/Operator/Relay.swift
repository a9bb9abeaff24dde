// Relay.swift — how every sub-command reaches a running relay, and how it says that it could not.

package import ArgumentParser
import Config
import Files
import Glibc
import HTTPClient
import JSON
import Mail

/// Where the relay is, and how its answers are shown.
package struct RelayOptions: ParsableArguments {
    @Option(help: "The data directory of a relay on this machine; MARTLET_DATA_DIR, else /var/lib/martlet.")
    package var data: String?

    @Option(help: "A relay elsewhere, such as https://relay.example.net:8025; MARTLET_URL.")
    package var url: String?

    @Option(
        name: .customLong("token-file"),
        help: "A file that holds the token for --url; MARTLET_TOKEN_FILE or MARTLET_TOKEN."
    )
    package var tokenFile: String?

    @Flag(help: "Print what the API answers, for programs.")
    package var json = false

    package init() {}

    /// The relay that the options and the environment name.
    ///
    /// - Throws: when the token cannot be read, or the relay has no API.
    package func relay() throws -> Relay {
        guard let relay = try relayIfAny() else {
            throw OperatorError(
                "this relay has no API: listen is empty and socket is none in admin.ini; set one of them and start it again",
                status: EX_CONFIG
            )
        }
        return relay
    }

    /// The same; nil when the relay has no API.
    func relayIfAny() throws -> Relay? {
        let program = try LocalRelay.program()
        let token = try token(program)
        if let url = url ?? program["URL"] {
            return Relay(base: String(url.rest(before: "/") ?? url[...]), socket: nil, token: token)
        }
        let local = try LocalRelay(data: data)
        let socket = local.relay.socketPath(in: local.data)
        let address = local.relay.apiAddress
        // Who may not use the socket may still have a token.
        if let socket, address == nil || access(socket, W_OK) == 0 || token == nil {
            return Relay(base: "http://localhost", socket: socket, token: token)
        }
        return address.map {
            Relay(base: "\(local.relay.apiHasTLS ? "https" : "http")://\($0)", socket: nil, token: token)
        }
    }

    private func token(_ program: [String: String]) throws -> String? { try token(program, tokenFile, "TOKEN") }

    /// Another relay's token.
    ///
    /// - Parameter name: of the variable that has it, without its prefix.
    func token(file: String?, named name: String) throws -> String? {
        try token(try LocalRelay.program(), file, name)
    }

    private func token(_ program: [String: String], _ file: String?, _ name: String) throws -> String? {
        guard let path = file else { return program[name] }
        let bytes: [UInt8]
        do throws(DiskError) {
            bytes = try LinuxDisk().contents(of: path, limit: 4096)
        } catch {
            throw OperatorError("the token cannot be read: \(error)", status: EX_NOINPUT)
        }
        guard let token = Environment.oneWord(bytes) else {
            throw OperatorError(
                "\(path) holds no token; martlet token create prints one to put there",
                status: EX_NOINPUT
            )
        }
        return token
    }
}

/// A sentence for a person, and the exit status of sysexits.h for a script.
package struct OperatorError: Error, CustomStringConvertible {
    package let description: String
    package let status: Int32
    /// Why there is no answer of the API; nil when there is one, or it was never asked.
    var cause: HTTPError.Kind?
    /// There is no relay now, or it is on its way out: later there will be one.
    private(set) var isAbsence = false

    package init(_ description: String, status: Int32 = 1) {
        self.description = description
        self.status = status
    }

    /// Nobody answers, or not to the end.
    static func absence(_ description: String) -> OperatorError {
        var error = OperatorError(description, status: EX_TEMPFAIL)
        error.isAbsence = true
        return error
    }
}

/// A running relay, asked over its API.
package struct Relay: Sendable {
    /// An answer of the API may be a list of a million messages.
    private static let mostBytes = 1 << 30

    let base: String
    /// The Unix socket, nil for a relay elsewhere.
    let socket: String?
    let token: String?
    /// Certificates that its own is trusted by; nil: the system's.
    let caFile: String?
    private let client = HTTPClient()

    package init(base: String, socket: String?, token: String?, caFile: String? = nil) {
        self.base = base
        self.socket = socket
        self.token = token
        self.caFile = caFile
    }

    /// Sends a request and returns a successful answer.
    ///
    /// - Throws: ``OperatorError`` with what the API said, or why there was no answer.
    @discardableResult
    func ask(
        _ method: String,
        _ path: String,
        query: [(String, String)] = [],
        body: JSON? = nil,
        accept: String = "application/json",
        headers: [(name: String, value: String)] = [],
        raw: (type: String, bytes: [UInt8])? = nil
    ) throws -> HTTPResponse {
        let response = try send(method, path, query: query, body: body, accept: accept, headers: headers, raw: raw)
        guard (200..<300).contains(response.status) else { throw Self.refusal(response) }
        return response
    }

    /// Sends a request and returns its answer, whatever its status.
    @discardableResult
    func send(
        _ method: String,
        _ path: String,
        query: [(String, String)] = [],
        body: JSON? = nil,
        accept: String = "application/json",
        headers: [(name: String, value: String)] = [],
        raw: (type: String, bytes: [UInt8])? = nil
    ) throws -> HTTPResponse {
        let pairs = query.map { "\(PercentEncoding.encoded($0.0))=\(PercentEncoding.encoded($0.1))" }
        let url = base + path + (pairs.isEmpty ? "" : "?" + pairs.joined(separator: "&"))
        var request = HTTPRequest(method, url, headers: headers, unixSocket: socket)
        request.headers.append(("Accept", accept))
        if let token { request.headers.append(("Authorization", "Bearer \(token)")) }
        if let body {
            let isPatch = method == "PATCH"
            request.headers.append(("Content-Type", isPatch ? "application/merge-patch+json" : "application/json"))
            request.body = Array(body.text.utf8)
        } else if let raw {
            request.headers.append(("Content-Type", raw.type))
            request.body = raw.bytes
        } else if method == "POST" {
            request.body = []
        }
        request.caFile = caFile
        request.timeout = .seconds(60)
        request.maxResponseBytes = Self.mostBytes
        do throws(HTTPError) {
            return try client.send(request)
        } catch {
            let hint = socket == nil ? "" : "; is the relay running, is --data right, and may you read the socket?"
            var failure = OperatorError("\(error.text)\(hint)", status: EX_UNAVAILABLE)
            failure.cause = error.kind
            throw failure
        }
    }

    /// What problem+json says, in a few lines (RFC 9457).
    static func refusal(_ response: HTTPResponse) -> OperatorError {
        let problem = JSON(response.body)
        var text = problem?["title"]?.string ?? "the relay answered \(response.status)"
        if let detail = problem?["detail"]?.string { text += ": \(detail)" }
        for error in problem?["errors"]?.elements ?? [] {
            let place = error["pointer"]?.string ?? error["parameter"]?.string ?? ""
            text += "\n  \(place) \(error["message"]?.string ?? error["detail"]?.string ?? "")"
        }
        let status: Int32 =
            switch response.status {
            case 401, 403: EX_NOPERM
            case 404: EX_NOUSER
            case 503, 429: EX_TEMPFAIL
            default: 1
            }
        return OperatorError(Printout.clean(text.split(octet: "\n").joined(separator: "; ")), status: status)
    }
}

/// A sub-command that asks a relay.
package protocol RelayCommand: ParsableCommand {
    /// Where the relay is, and how to show what it says.
    var options: RelayOptions { get }
    /// What there is to ask.
    func run(_ relay: Relay) throws
}

extension RelayCommand {
    package func run() throws {
        do {
            try run(try options.relay())
        } catch let error as OperatorError {
            Output.complain(error.description)
            throw ExitCode(error.status)
        }
    }

    /// Prints an answer as it is for programs, in the given form for people.
    func show(_ response: HTTPResponse, _ form: (JSON) -> String) throws {
        guard !response.body.isEmpty else { return }
        if options.json {
            Output.write(response.body)
            if response.body.last != UInt8(ascii: "\n") { print() }
            return
        }
        guard let value = JSON(response.body) else {
            throw OperatorError(
                "the answer is no JSON: see that --url names the relay's API, and that nothing in front of it answers instead"
            )
        }
        print(form(value))
    }

    /// Shows a table, its rows in words; or says that it is empty.
    ///
    /// - Parameter row: what is shown of a row.
    func list(
        _ relay: Relay,
        _ table: String,
        query: [(String, String)] = [],
        or empty: String,
        _ row: (JSON) -> JSON = { $0 }
    ) throws {
        try show(try relay.ask("GET", table, query: query)) { answer in
            Printout.list((answer["items"]?.elements ?? answer.elements).map(row), or: empty)
        }
    }

    /// Asks for one row of a table, and shows what is answered.
    ///
    /// - Parameter verb: what is to be done with it, where the method does not say.
    func row(
        _ relay: Relay,
        _ method: String,
        _ table: String,
        _ name: String,
        _ verb: String? = nil,
        query: [(String, String)] = [],
        body: JSON? = nil
    ) throws {
        let path = "\(table)/\(PercentEncoding.encoded(name))" + (verb.map { "/\($0)" } ?? "")
        try show(try relay.ask(method, path, query: query, body: body)) { Printout.object($0) }
    }

    /// Takes away what keeps a scope, and tells people what follows.
    func letGo(_ relay: Relay, _ table: String, _ scope: String, _ words: (String) -> String) throws {
        try row(relay, "DELETE", table, scope)
        if !options.json { print(words(scope)) }
    }
}

/// The two streams of a command-line tool.
package enum Output {
    /// Bytes as they are, on standard output.
    package static func write(_ bytes: [UInt8]) {
        // What was printed before comes first.
        fflush(nil)
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    /// A line on standard error.
    package static func complain(_ text: String, by program: String = "martlet") {
        let bytes = Array("\(program): \(text)\n".utf8)
        _ = Glibc.write(STDERR_FILENO, bytes, bytes.count)
    }

    /// All of standard input.
    package static func readAll() -> [UInt8] {
        var bytes: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(STDIN_FILENO, &block, block.count)
            guard count > 0 else { return bytes }
            bytes += block[..<count]
        }
    }
}

// HTTPClientTests.swift — what is sent, what is refused, and how each kind of trouble is named.

import Glibc
import HTTPClient
import TestSupport
import Testing

@Suite struct HTTPClientTests {
    let client = HTTPClient()

    @Test func sendsMethodHeadersAndBody() throws {
        let server = try HTTPServer { _ in HTTPServer.ok("{}", headers: "ETag: \"abc\"\r\nX-Empty:\r\n") }
        defer { server.stop() }
        let response = try client.send(
            HTTPRequest(
                "PATCH",
                "http://127.0.0.1:\(server.port)/v1/x?a=b",
                headers: [("Content-Type", "application/json"), ("X-Nothing", "")],
                body: Array("{\"a\":1}".utf8)
            )
        )
        #expect(response.status == 200)
        #expect(response.text == "{}")
        #expect(response.header("etag") == "\"abc\"")
        #expect(response.header("x-empty") == "")
        let request = try #require(server.requests.first)
        #expect(request.hasPrefix("PATCH /v1/x?a=b HTTP/1.1\r\n"))
        #expect(request.contains("Content-Type: application/json\r\n"))
        #expect(request.contains("X-Nothing:\r\n"))
        #expect(!request.contains("Expect:"))
        #expect(request.hasSuffix("\r\n\r\n{\"a\":1}"))
    }

    @Test func aBodyOfNoBytesIsStillABody() throws {
        let server = try HTTPServer { _ in HTTPServer.ok("") }
        defer { server.stop() }
        _ = try client.send(HTTPRequest("POST", "http://127.0.0.1:\(server.port)/", body: []))
        let request = try #require(server.requests.first)
        #expect(request.contains("Content-Length: 0\r\n"))
        #expect(!request.contains("Content-Type"))
    }

    @Test func keepsTheConnectionForTheNextCall() throws {
        let server = try HTTPServer { _ in HTTPServer.ok("x") }
        defer { server.stop() }
        for _ in 0..<5 { _ = try client.send(HTTPRequest("GET", "http://127.0.0.1:\(server.port)/")) }
        #expect(server.requests.count == 5)
        #expect(server.connections == 1)
    }

    @Test func headHasNoBody() throws {
        let server = try HTTPServer { _ in "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" }
        defer { server.stop() }
        let response = try client.send(HTTPRequest("HEAD", "http://127.0.0.1:\(server.port)/"))
        #expect(response.status == 200)
        #expect(response.body.isEmpty)
        #expect(server.requests.first?.hasPrefix("HEAD / ") == true)
    }

    @Test func speaksOverAUnixSocket() throws {
        let path = "/tmp/martlet-http-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock"
        defer { unlink(path) }
        let server = try HTTPServer(path: path) { _ in HTTPServer.ok("local") }
        defer { server.stop() }
        let response = try client.send(HTTPRequest("GET", "http://localhost/livez", unixSocket: path))
        #expect(response.text == "local")
    }

    @Test func doesNotFollowRedirects() throws {
        let server = try HTTPServer { _ in
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
        }
        defer { server.stop() }
        let response = try client.send(HTTPRequest("GET", "http://127.0.0.1:\(server.port)/"))
        #expect(response.status == 302)
        #expect(response.header("location") == "http://127.0.0.1:1/")
    }

    @Test func skipsInterimAnswers() throws {
        let server = try HTTPServer { _ in "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + HTTPServer.ok("end") }
        defer { server.stop() }
        let response = try client.send(HTTPRequest("GET", "http://127.0.0.1:\(server.port)/"))
        #expect(response.status == 200)
        #expect(response.header("link") == nil)
        #expect(response.text == "end")
    }

    @Test func connectsToTheFirstAddressThatAnswers() throws {
        let server = try HTTPServer { _ in HTTPServer.ok("found") }
        defer { server.stop() }
        var request = HTTPRequest("GET", "http://mta-sts.example.com:\(server.port)/.well-known/mta-sts.txt")
        request.addresses = ["127.0.0.9", "127.0.0.1"]
        #expect(try client.send(request).text == "found")
        #expect(server.requests.first?.contains("Host: mta-sts.example.com:\(server.port)\r\n") == true)
    }

    @Test func boundsTheAnswer() throws {
        let server = try HTTPServer { _ in HTTPServer.ok(String(repeating: "x", count: 5000)) }
        defer { server.stop() }
        var request = HTTPRequest("GET", "http://127.0.0.1:\(server.port)/")
        request.maxResponseBytes = 5000
        #expect(try client.send(request).body.count == 5000)
        request.maxResponseBytes = 4999
        #expect(kind { try client.send(request) } == .tooLarge)
    }

    @Test func boundsTheHead() throws {
        let long = String(repeating: "X-Long: \(String(repeating: "y", count: 1000))\r\n", count: 70)
        let server = try HTTPServer { _ in HTTPServer.ok("", headers: long) }
        defer { server.stop() }
        #expect(kind { try client.send(HTTPRequest("GET", "http://127.0.0.1:\(server.port)/")) } == .tooLarge)
    }

    @Test func namesEachTrouble() throws {
        let silent = try HTTPServer { _ in "" }
        defer { silent.stop() }
        let odd = try HTTPServer { _ in "220 mail.example.com ESMTP\r\n" }
        defer { odd.stop() }
        func get(_ url: String, within: Duration = .seconds(20)) -> HTTPError.Kind? {
            var request = HTTPRequest("GET", url)
            request.timeout = within
            return kind { try client.send(request) }
        }
        #expect(get("http://127.0.0.1:1/") == .cannotConnect)
        #expect(get("http://127.0.0.1:\(silent.port)/") == .broken)
        #expect(get("http://127.0.0.1:\(odd.port)/") == .broken)
        #expect(get("https://127.0.0.1:\(odd.port)/") == .tls)
        #expect(kind { try client.send(HTTPRequest("GET", "http://x/", unixSocket: "/nonexistent")) } == .cannotConnect)
    }

    @Test func doesNotWaitForever() throws {
        // A socket that listens and never accepts: the kernel answers the connection, nobody the request.
        let server = try HTTPServer { _ in
            // The client has gone by the time this is over.
            var none = pollfd(fd: -1, events: 0, revents: 0)
            _ = poll(&none, 1, 2000)
            return ""
        }
        defer { server.stop() }
        var request = HTTPRequest("GET", "http://127.0.0.1:\(server.port)/")
        request.timeout = .milliseconds(200)
        let refused = kind { try client.send(request) }
        #expect(refused == .timedOut)
    }

    @Test(arguments: [
        HTTPRequest("GET", "ftp://127.0.0.1/"), HTTPRequest("GET", "file:///etc/passwd"),
        HTTPRequest("GET /x HTTP/1.1\r\nX:", "http://127.0.0.1/"), HTTPRequest("GET", "http://127.0.0.1/\r\nX: y"),
        HTTPRequest("GET", "http://127.0.0.1/", headers: [("X", "a\r\nY: b")]),
        HTTPRequest("GET", "http://127.0.0.1/", headers: [("X: y\r\nZ", "a")]),
        HTTPRequest("GET", "http://127.0.0.1/", unixSocket: "/tmp/x\0y"), HTTPRequest("", "http://127.0.0.1/"),
    ])
    func refusesWhatWouldBeAnotherRequest(_ request: HTTPRequest) {
        #expect(kind { try client.send(request) } == .invalidRequest)
    }

    @Test func servesSeveralThreadsAtOnce() async throws {
        let servers = try (0..<4).map { number in try HTTPServer { _ in HTTPServer.ok("server \(number)") } }
        defer { for server in servers { server.stop() } }
        let texts = await withTaskGroup(of: (Int, String).self) { group in
            for round in 0..<40 {
                let number = round % 4
                let port = servers[number].port
                group.addTask { [client] in
                    (number, (try? client.send(HTTPRequest("GET", "http://127.0.0.1:\(port)/")).text) ?? "nothing")
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(texts.count == 40)
        #expect(texts.allSatisfy { $0.1 == "server \($0.0)" })
    }

    private func kind(_ body: () throws -> HTTPResponse) -> HTTPError.Kind? {
        do {
            let response = try body()
            Issue.record("answered with \(response.status)")
            return nil
        } catch {
            return (error as? HTTPError)?.kind
        }
    }
}

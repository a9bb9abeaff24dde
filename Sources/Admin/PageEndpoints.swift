// PageEndpoints.swift — the page for people: `/` and its files, with all that a browser must be told so that text of mail can
// do nothing in it.

import Config
import Loop
import Mail
import Page

/// The page.
enum PageEndpoints {
    static let types = ["text/html"]
    static let fileTypes = ["text/javascript", "text/css", "image/svg+xml"]

    /// `GET /`.
    static func show(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        try check(services)
        let index = PageFiles.embedded.index
        return answer(request, index, caching: "no-cache", tag: EntityTags.of(index.bytes))
    }

    /// `GET /page/{version}/{file}`: the address holds a hash of what is there, so it never changes.
    static func file(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        try check(services)
        let files = PageFiles.embedded
        guard request.parameter("version").isSame(octets: files.version), let file = files[request.parameter("file")]
        else {
            throw Problem(.notFound, "no such file of the page, or of another version: load the page again")
        }
        return answer(request, file, caching: "public, max-age=31536000, immutable", tag: nil)
    }

    /// - Throws: 404 where the page is switched off.
    static func check(_ services: AdminServices) throws(Problem) {
        guard services.settings.inForce.ask({ $0.admin.hasPage }) else {
            throw Problem(.notFound, "the page is switched off; page = true in admin.ini switches it on")
        }
    }

    private static func answer(
        _ request: AdminRequest,
        _ file: PageFile,
        caching: String,
        tag: String?
    ) -> AdminResponse {
        var headers = [HeaderField("Cache-Control", caching), HeaderField("Vary", "Accept-Encoding")] + protection
        if let tag { headers.append(HeaderField("ETag", tag)) }
        guard let compressed = file.compressed, takesGzip(request) else {
            return .bytes(file.bytes, file.type, headers: headers)
        }
        return .bytes(compressed, file.type, headers: headers + [HeaderField("Content-Encoding", "gzip")])
    }

    /// RFC 9110 §12.5.3; `gzip;q=0` is a no.
    private static func takesGzip(_ request: AdminRequest) -> Bool {
        (request.header("accept-encoding") ?? "").lowercasedASCII.split(octet: ",").contains { item in
            let parts = item.split(octet: ";").map { $0.words.joined() }
            guard parts.first.map({ $0.isSame(octets: "gzip") }) ?? false else { return false }
            let quality = parts.dropFirst().compactMap { $0.rest(behind: "q=") }.first.flatMap { Double($0) }
            return (quality ?? 1) > 0
        }
    }

    private static let protection = [
        HeaderField(
            "Content-Security-Policy",
            [
                "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
                "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
            ]
            .joined(separator: "; ")
        ),
        HeaderField("Referrer-Policy", "no-referrer"),
        HeaderField("Cross-Origin-Resource-Policy", "same-origin"),
        HeaderField("X-Frame-Options", "DENY"),
    ]
}

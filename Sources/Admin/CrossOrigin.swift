// CrossOrigin.swift — pages of other origins that may read the API: those that `allowed_origins` names, and no others.
//
// Guarantees: without a named origin nothing is said; credentials that a browser keeps, such as cookies, are never asked
// for: a page sends a token that somebody gave it. Answers differ by origin and say so (Fetch, §3.2; RFC 9110 §12.5.5).

import Mail

/// What an answer says to a browser.
enum CrossOrigin {
    /// Seconds that a browser may remember a preflight.
    private static let memory = "600"
    private static let methods = "GET, POST, PUT, PATCH, DELETE"
    private static let requestHeaders =
        "Authorization, Content-Type, If-Match, If-None-Match, Idempotency-Key, X-Request-Id"
    private static let answerHeaders = "ETag, Link, Location, Retry-After, X-Request-Id"

    /// The fields of every answer.
    ///
    /// - Parameters:
    ///   - headers: of the request, by names in lower case.
    ///   - allowed: the origins that `admin.ini` names, in lower case.
    static func fields(_ headers: [String: String], allowed: [String]) -> [HeaderField] {
        guard !allowed.isEmpty else { return [] }
        let varies = HeaderField("Vary", "Origin")
        guard let origin = headers["origin"], allowed.contains(origin.lowercasedASCII) else { return [varies] }
        return [
            varies, HeaderField("Access-Control-Allow-Origin", origin),
            HeaderField("Access-Control-Expose-Headers", answerHeaders),
        ]
    }

    /// The answer to a browser that asks before it sends; nil for everything else.
    static func preflight(_ method: String, _ headers: [String: String], allowed: [String]) -> AdminResponse? {
        guard method == "OPTIONS", headers["access-control-request-method"] != nil, let origin = headers["origin"],
            allowed.contains(origin.lowercasedASCII)
        else { return nil }
        return AdminResponse(
            204,
            headers: [
                HeaderField("Access-Control-Allow-Methods", methods),
                HeaderField("Access-Control-Allow-Headers", requestHeaders),
                HeaderField("Access-Control-Max-Age", memory),
            ]
        )
    }
}

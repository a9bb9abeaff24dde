// CurlCodes.swift — libcurl's codes as the few kinds that a caller decides by, with libcurl's own words.

import CCurl

enum CurlCodes {
    /// - Parameter words: libcurl's error buffer, empty when it had nothing to add.
    static func error(
        _ code: CURLcode,
        _ words: [CChar],
        _ answer: AnswerCollector,
        _ request: HTTPRequest
    ) -> HTTPError {
        if answer.isTooLarge {
            return HTTPError(.tooLarge, "the answer is larger than \(request.maxResponseBytes) bytes")
        }
        let detail = words.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        let reason =
            detail.isEmpty ? String(cString: curl_easy_strerror(code)) : String(decoding: detail, as: UTF8.self)
        let kind = kind(of: code)
        // Of a Unix socket libcurl would speak as of a port.
        if kind == .cannotConnect, let path = request.unixSocket { return HTTPError(kind, "\(sentence(kind)) \(path)") }
        let place = request.unixSocket ?? request.url
        return HTTPError(kind, "\(sentence(kind)) \(place): \(reason)")
    }

    private static func kind(of code: CURLcode) -> HTTPError.Kind {
        switch code {
        case CURLE_URL_MALFORMAT: .invalidRequest
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY: .cannotResolve
        case CURLE_COULDNT_CONNECT, CURLE_INTERFACE_FAILED: .cannotConnect
        case CURLE_OPERATION_TIMEDOUT: .timedOut
        case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM,
            CURLE_SSL_CIPHER, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_ENGINE_INITFAILED:
            .tls
        default: .broken
        }
    }

    private static func sentence(_ kind: HTTPError.Kind) -> String {
        switch kind {
        case .invalidRequest: "cannot understand"
        case .cannotResolve: "cannot find the address of"
        case .cannotConnect: "cannot connect to"
        case .tls: "no trusted TLS connection to"
        case .timedOut: "no answer in time from"
        case .tooLarge, .broken: "no proper answer from"
        }
    }
}

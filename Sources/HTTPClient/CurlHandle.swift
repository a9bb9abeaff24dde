// CurlHandle.swift — one libcurl handle: options in, a blocking transfer, an answer out.

import CCurl

/// A handle with the connections it keeps open.
// @unchecked: libcurl lets a handle move between threads that use it in turn; it is either in the pool or in one call.
final class CurlHandle: @unchecked Sendable {
    /// Once per process, before the first handle.
    private static let isReady = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    private let handle: UnsafeMutableRawPointer

    init() throws(HTTPError) {
        guard Self.isReady, let handle = curl_easy_init() else {
            throw HTTPError(.invalidRequest, "libcurl cannot be started")
        }
        self.handle = handle
    }

    deinit { curl_easy_cleanup(handle) }

    /// One transfer.
    ///
    /// - Parameter address: where to connect instead of the URL's host.
    func send(_ request: HTTPRequest, to address: String?, within time: Duration) throws(HTTPError) -> HTTPResponse {
        // Options go, connections stay.
        curl_easy_reset(handle)
        let answer = AnswerCollector(limit: request.maxResponseBytes)
        var lists = TextLists()
        defer { lists.free() }
        try configure(request, within: time)
        try setMethod(request)
        try setHeaders(request, &lists)
        if let address { try connect(to: address, &lists) }
        if !request.knownAddresses.isEmpty { try resolve(request, &lists) }
        var words = [CChar](repeating: 0, count: Int(CURL_ERROR_SIZE))
        let code = words.withUnsafeMutableBufferPointer { words in
            relay_curl_set_pointer(handle, CURLOPT_ERRORBUFFER, words.baseAddress)
            defer { relay_curl_set_pointer(handle, CURLOPT_ERRORBUFFER, nil) }
            return perform(request.body, into: answer)
        }
        let isCut = request.cutsLongBody && answer.isTooLarge
        guard code == CURLE_OK || isCut else { throw CurlCodes.error(code, words, answer, request) }
        return try answer.response()
    }

    private func configure(_ request: HTTPRequest, within time: Duration) throws(HTTPError) {
        let milliseconds = max(1, min(Int(time / .milliseconds(1)), 86_400_000))
        try check(relay_curl_set_text(handle, CURLOPT_URL, request.url))
        try check(relay_curl_set_text(handle, CURLOPT_PROTOCOLS_STR, "http,https"))
        try check(relay_curl_set_long(handle, CURLOPT_NOSIGNAL, 1))
        try check(relay_curl_set_long(handle, CURLOPT_TIMEOUT_MS, milliseconds))
        try check(relay_curl_set_long(handle, CURLOPT_CONNECTTIMEOUT_MS, milliseconds))
        try check(relay_curl_set_long(handle, CURLOPT_FOLLOWLOCATION, 0))
        try check(relay_curl_set_long(handle, CURLOPT_SSL_VERIFYPEER, 1))
        try check(relay_curl_set_long(handle, CURLOPT_SSL_VERIFYHOST, 2))
        try check(relay_curl_set_long(handle, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2))
        // HTTP/1.1 is all we need.
        try check(relay_curl_set_long(handle, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1))
        if let file = request.caFile { try check(relay_curl_set_text(handle, CURLOPT_CAINFO, file)) }
        if let path = request.unixSocket { try check(relay_curl_set_text(handle, CURLOPT_UNIX_SOCKET_PATH, path)) }
        // An empty name also keeps libcurl from reading the environment.
        if !request.usesProxyOfEnvironment || request.unixSocket != nil {
            try check(relay_curl_set_text(handle, CURLOPT_PROXY, ""))
        }
    }

    private func setMethod(_ request: HTTPRequest) throws(HTTPError) {
        if request.body != nil {
            try check(relay_curl_set_long(handle, CURLOPT_POST, 1))
        } else if request.method == "HEAD" {
            try check(relay_curl_set_long(handle, CURLOPT_NOBODY, 1))
        }
        try check(relay_curl_set_text(handle, CURLOPT_CUSTOMREQUEST, request.method))
    }

    private func setHeaders(_ request: HTTPRequest, _ lists: inout TextLists) throws(HTTPError) {
        // No 100-continue: it costs a second with servers that do not know it.
        var lines = ["Expect:"]
        let names = request.headers.map { AnswerCollector.lowered($0.name.utf8) }
        if request.body != nil, !names.contains(where: { $0 == "content-type" }) {
            // libcurl would call every body a form.
            lines.append("Content-Type:")
        }
        // To libcurl `name;` is a header without a value, and `name:` one to leave out.
        lines += request.headers.map { $0.value.isEmpty ? "\($0.name);" : "\($0.name): \($0.value)" }
        try check(relay_curl_set_list(handle, CURLOPT_HTTPHEADER, try lists.make(lines)))
    }

    /// Connects to an address while name, `Host` and certificate stay those of the URL.
    private func connect(to address: String, _ lists: inout TextLists) throws(HTTPError) {
        guard !address.isEmpty, address.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw HTTPError(.invalidRequest, "an address to connect to is empty or holds a control character")
        }
        let host = address.utf8.contains(UInt8(ascii: ":")) ? "[\(address)]" : address
        // No host and port in front: it holds for the one connection there is.
        try check(relay_curl_set_list(handle, CURLOPT_CONNECT_TO, try lists.make(["::\(host):"])))
    }

    /// Answers libcurl's question for the URL's host before it is asked.
    private func resolve(_ request: HTTPRequest, _ lists: inout TextLists) throws(HTTPError) {
        let url = try WebURL(request.url)
        let addresses = request.knownAddresses.map { $0.utf8.contains(UInt8(ascii: ":")) ? "[\($0)]" : $0 }
        guard addresses.joined().utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ",") }) else {
            throw HTTPError(.invalidRequest, "an address to connect to holds something else")
        }
        let line = "\(url.host):\(url.port):\(addresses.joined(separator: ","))"
        try check(relay_curl_set_list(handle, CURLOPT_RESOLVE, try lists.make([line])))
    }

    private func perform(_ body: [UInt8]?, into answer: AnswerCollector) -> CURLcode {
        let context = Unmanaged.passUnretained(answer).toOpaque()
        relay_curl_set_sink(handle, CURLOPT_WRITEFUNCTION) { bytes, size, count, context in
            AnswerCollector.receive(bytes, size &* count, context) { $0.body($1) }
        }
        relay_curl_set_pointer(handle, CURLOPT_WRITEDATA, context)
        relay_curl_set_sink(handle, CURLOPT_HEADERFUNCTION) { bytes, size, count, context in
            AnswerCollector.receive(bytes, size &* count, context) { $0.headerLine($1) }
        }
        relay_curl_set_pointer(handle, CURLOPT_HEADERDATA, context)
        return withExtendedLifetime(answer) {
            guard let body else { return curl_easy_perform(handle) }
            return body.withUnsafeBytes { bytes in
                relay_curl_set_size(handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(bytes.count))
                // Without an address libcurl would ask a callback for the body.
                relay_curl_set_pointer(handle, CURLOPT_POSTFIELDS, bytes.baseAddress ?? UnsafeRawPointer(context))
                return curl_easy_perform(handle)
            }
        }
    }

    private func check(_ code: CURLcode) throws(HTTPError) {
        guard code == CURLE_OK else {
            throw HTTPError(
                .invalidRequest,
                "libcurl refuses the request: \(String(cString: curl_easy_strerror(code)))"
            )
        }
    }
}

/// libcurl's lists of texts, freed when the transfer is over.
private struct TextLists {
    private var lists: [UnsafeMutablePointer<curl_slist>] = []

    mutating func make(_ texts: [String]) throws(HTTPError) -> UnsafeMutablePointer<curl_slist>? {
        var list: UnsafeMutablePointer<curl_slist>?
        for text in texts {
            guard let longer = curl_slist_append(list, text) else {
                curl_slist_free_all(list)
                throw HTTPError(.invalidRequest, "no memory for the headers")
            }
            list = longer
        }
        if let list { lists.append(list) }
        return list
    }

    func free() {
        for list in lists { curl_slist_free_all(list) }
    }
}

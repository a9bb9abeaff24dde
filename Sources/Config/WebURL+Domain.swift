// WebURL+Domain.swift — URLs of our files with the name of their host in normal form, as every other name.

import HTTPClient
import Mail

extension WebURL {
    /// Reads a URL; a name in letters beyond ASCII becomes its A-labels.
    ///
    /// - Throws: the reason, as a sentence that holds nothing of the URL.
    init(normalizing text: String) throws(HTTPError) {
        self = try WebURL(text)
        guard !host.utf8.allSatisfy({ $0 < 0x80 }) else { return }
        guard let domain = Domain(host), domain.literal == nil else {
            throw HTTPError(.invalidRequest, "the URL's host is no name")
        }
        self = try with(host: domain.name)
    }
}

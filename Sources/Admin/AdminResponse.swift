// AdminResponse.swift — what a handler answers: a status, header fields, and a body in memory or one that is made piece by piece.

package import JSON

/// An answer.
package struct AdminResponse: Sendable {
    /// Where the bytes come from.
    package enum Body: Sendable {
        case none
        case bytes([UInt8])
        case stream(AdminStream)
    }

    package var status: Int
    package var headers: [HeaderField]
    package var body: Body
    /// It shows a secret, once: nobody keeps it to be given again.
    var holdsSecret = false
    /// Its entity tag is of a file, and it tells more than the file says: who has the tag may not have the answer.
    var tellsMoreThanItsTag = false

    package init(_ status: Int, headers: [HeaderField] = [], body: Body = .none) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// JSON.
    package static func json(_ value: JSON, status: Int = 200, headers: [HeaderField] = []) -> AdminResponse {
        bytes(value.bytes, "application/json", status: status, headers: headers)
    }

    /// A body of some type.
    package static func bytes(
        _ bytes: [UInt8],
        _ type: String,
        status: Int = 200,
        headers: [HeaderField] = []
    ) -> AdminResponse {
        AdminResponse(status, headers: [HeaderField("Content-Type", type)] + headers, body: .bytes(bytes))
    }

    /// A body that is made while it is sent.
    ///
    /// - Parameters:
    ///   - size: bytes, when known.
    ///   - begin: called once, on the connection's thread; what it gives is called there until it gives nil, or fails.
    package static func stream(
        _ type: String,
        size: Int? = nil,
        headers: [HeaderField] = [],
        _ begin: @escaping @Sendable () -> AdminStream.Next
    ) -> AdminResponse {
        AdminResponse(
            200,
            headers: [HeaderField("Content-Type", type)] + headers,
            body: .stream(AdminStream(size: size) { _ in begin() })
        )
    }
}

extension AdminResponse {
    /// A body that goes on while things happen: its connection takes no seat while it does (`AdminConnections`).
    ///
    /// - Parameter begin: as of a stream; what it gives may block for a while, and should end when the client is gone,
    ///   which the function that it gets tells.
    static func following(
        _ type: String,
        headers: [HeaderField] = [],
        _ begin: @escaping @Sendable (_ isGone: @escaping () -> Bool) -> AdminStream.Next
    ) -> AdminResponse {
        AdminResponse(
            200,
            headers: [HeaderField("Content-Type", type)] + headers,
            body: .stream(AdminStream(size: nil, isEndless: true, begin: begin))
        )
    }
}

/// A body that is made while it is sent.
package struct AdminStream: Sendable {
    /// The rest cannot be had: the connection is cut, so that nobody takes what came for the whole.
    package struct Break: Error, Hashable, Sendable {}

    /// The next bytes; nil at the end.
    package typealias Next = () throws(Break) -> [UInt8]?

    let size: Int?
    var isEndless = false
    /// Gets what tells whether the client is gone.
    let begin: @Sendable (_ isGone: @escaping () -> Bool) -> Next

    init(size: Int?, isEndless: Bool = false, begin: @escaping @Sendable (_ isGone: @escaping () -> Bool) -> Next) {
        (self.size, self.isEndless, self.begin) = (size, isEndless, begin)
    }
}

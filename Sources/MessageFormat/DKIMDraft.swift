// DKIMDraft.swift — what DKIM needs of a message, gathered while it is received: no second pass over the body.

package import Mail
package import NIOCore
package import OpenSSL

/// The header and the hash of the body of one message.
///
/// Bound to whoever makes it.
package final class DKIMDraft {
    /// Finds the keys of an author's domain.
    package typealias Keys = @Sendable (Domain) -> [DKIMSigner]

    private enum State {
        case header
        /// The empty line between the two, which belongs to neither.
        case separator
        case body
        /// Nobody's keys: nothing more is looked at.
        case unwanted
    }

    /// Whether whoever hands the message in may name these authors.
    package typealias MayName = @Sendable (Authors) -> Bool

    private let keys: Keys
    private let mayName: MayName
    /// Its authors are others than those whom it may name: nothing is signed.
    package private(set) var isForeign = false
    private var state = State.header
    private var header: [UInt8] = []
    private var bodyHash: DKIMBodyHash?
    private var signers: [DKIMSigner] = []

    package init(keys: @escaping Keys, mayName: @escaping MayName = { _ in true }) {
        self.keys = keys
        self.mayName = mayName
    }

    /// Takes more of the message.
    ///
    /// - Parameters:
    ///   - offset: behind the reader index.
    ///   - block: what the header scanner knows by now.
    package func update(_ buffer: ByteBuffer, from offset: Int, _ block: HeaderBlock) {
        buffer.withUnsafeReadableBytes { bytes in
            guard offset < bytes.count else { return }
            update(UnsafeRawBufferPointer(rebasing: bytes[max(0, offset)...]), block)
        }
    }

    private func update(_ bytes: UnsafeRawBufferPointer, _ block: HeaderBlock) {
        switch state {
        case .unwanted: return
        case .body: bodyHash?.update(bytes)
        case .separator:
            guard let feed = bytes.firstIndex(of: 0x0A) else { return }
            state = .body
            bodyHash?.update(UnsafeRawBufferPointer(rebasing: bytes[(feed + 1)...]))
        case .header:
            // The scanner has seen these octets, and knows how many of them belong to the header.
            guard let end = block.end else { return header.append(contentsOf: bytes) }
            let missing = min(max(0, block.size - header.count), bytes.count)
            header.append(contentsOf: bytes[..<missing])
            // The beginning of a line that turned out to be no field came with an earlier piece.
            let text = Array(header[min(block.size, header.count)...])
            header.removeLast(text.count)
            endHeader(end)
            text.withUnsafeBytes { update($0, block) }
            update(UnsafeRawBufferPointer(rebasing: bytes[missing...]), block)
        }
    }

    private func endHeader(_ end: HeaderBlock.End) {
        let authors = Authors(of: header)
        isForeign = !mayName(authors)
        signers = isForeign ? [] : authors.signingDomain.map(keys) ?? []
        state = signers.isEmpty ? .unwanted : end == .emptyLine ? .separator : .body
        if !signers.isEmpty { bodyHash = DKIMBodyHash() }
    }

    /// What is to be signed, once the message is complete; nil when nobody's keys are to sign it.
    package func complete() -> DKIMWork? {
        if case .header = state { endHeader(.text) }
        guard let hash = bodyHash?.finish() else { return nil }
        return DKIMWork(signers: signers, header: header, bodyHash: hash)
    }
}

/// Signatures that are still to be made: may go to another thread.
package struct DKIMWork: Sendable {
    let signers: [DKIMSigner]
    /// As it is signed.
    package var header: [UInt8]
    let bodyHash: [UInt8]

    /// One `DKIM-Signature` field for each key.
    ///
    /// Blocks: about a millisecond for each RSA key.
    /// - Parameter prologue: the fields that the relay puts in front, which are signed too.
    /// - Throws: when OpenSSL cannot sign.
    package func signatures(
        behind prologue: ByteBuffer = ByteBuffer(),
        _ coverage: DKIMSigner.Coverage,
        at time: Timestamp
    ) throws(TLSError) -> [UInt8] {
        let whole = Array(prologue.readableBytesView) + header
        var fields: [UInt8] = []
        for signer in signers {
            fields += try signer.sign(header: whole, bodyHash: bodyHash, coverage, at: time)
        }
        return fields
    }
}

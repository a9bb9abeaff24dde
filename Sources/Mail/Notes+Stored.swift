// Notes+Stored.swift — the notes of an envelope as bytes.

/// Layout: flags, [outbound address], [name], [client address], [caller], [count, keys and values], [tag].
///
/// An address is its length, 4 or 16, and its bytes.
extension Notes {
    private enum Flag {
        static let outboundIP: UInt8 = 1
        static let outboundHelo: UInt8 = 2
        static let client: UInt8 = 4
        static let values: UInt8 = 8
        static let forceTLS: UInt8 = 16
        static let caller: UInt8 = 32
        static let tag: UInt8 = 64
    }

    func encode(to bytes: inout [UInt8]) {
        var flags: UInt8 = 0
        if outboundIP != nil { flags |= Flag.outboundIP }
        if outboundHelo != nil { flags |= Flag.outboundHelo }
        if client != nil { flags |= Flag.client }
        if !values.isEmpty { flags |= Flag.values }
        if forceTLS { flags |= Flag.forceTLS }
        if caller != nil { flags |= Flag.caller }
        if tag != nil { flags |= Flag.tag }
        bytes.append(flags)
        if let outboundIP { bytes.append(address: outboundIP) }
        if let outboundHelo { bytes.append(string: outboundHelo.name) }
        if let client { bytes.append(address: client) }
        if let caller { bytes.append(string: caller) }
        if !values.isEmpty {
            bytes.append(compact: UInt64(values.count))
            for (key, value) in values.sorted(by: { $0.key < $1.key }) {
                bytes.append(string: key)
                bytes.append(string: value)
            }
        }
        if let tag { bytes.append(string: tag, atMost: 255) }
    }

    init(decoding reader: inout StoredReader) throws(Malformed) {
        let flags = try reader.byte()
        self.init(forceTLS: flags & Flag.forceTLS != 0)
        if flags & Flag.outboundIP != 0 { outboundIP = try reader.address() }
        if flags & Flag.outboundHelo != 0 { outboundHelo = try reader.domain() }
        if flags & Flag.client != 0 { client = try reader.address() }
        if flags & Flag.caller != 0 { caller = try reader.string() }
        if flags & Flag.values != 0 {
            for _ in 0..<(try reader.count()) {
                let key = try reader.string()
                values[key] = try reader.string()
            }
        }
        if flags & Flag.tag != 0 { tag = try reader.string() }
    }
}

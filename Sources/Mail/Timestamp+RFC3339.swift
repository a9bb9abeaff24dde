// Timestamp+RFC3339.swift — times as the API, logs and settings write them: `2026-11-22T10:00:01.123Z`.

extension Timestamp {
    /// `2026-11-22T10:00:01.123Z`, always in UTC and with milliseconds.
    ///
    /// - Source: RFC 3339 §5.6
    package var rfc3339: String {
        let date = parts
        var text: [UInt8] = []
        text.reserveCapacity(24)
        func put(_ value: Int, _ width: Int) {
            var power = 1
            for _ in 1..<width { power *= 10 }
            while power > 0 {
                text.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value / power % 10))
                power /= 10
            }
        }
        put(min(max(date.year, 0), 9999), 4)
        text.append(UInt8(ascii: "-"))
        put(date.month, 2)
        text.append(UInt8(ascii: "-"))
        put(date.day, 2)
        text.append(UInt8(ascii: "T"))
        put(date.hour, 2)
        text.append(UInt8(ascii: ":"))
        put(date.minute, 2)
        text.append(UInt8(ascii: ":"))
        put(date.second, 2)
        text.append(UInt8(ascii: "."))
        put(Int(millisecondOfSecond), 3)
        text.append(UInt8(ascii: "Z"))
        return String(decoding: text, as: UTF8.self)
    }

    /// Reads `2026-11-22T10:00:01Z`, with a fraction or an offset such as `+02:00` if it has one.
    ///
    /// - Returns: nil for anything else, and for days and hours that do not exist.
    /// - Source: RFC 3339 §5.6
    package init?(rfc3339 text: some StringProtocol) {
        let bytes = Array(text.utf8)
        guard (20...40).contains(bytes.count) else { return nil }
        func number(_ range: Range<Int>) -> Int64? {
            guard range.upperBound <= bytes.count else { return nil }
            var value: Int64 = 0
            for index in range {
                guard (0x30...0x39).contains(bytes[index]) else { return nil }
                value = value * 10 + Int64(bytes[index] - 0x30)
            }
            return value
        }
        guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
            let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19),
            bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-"), bytes[10] | 0x20 == UInt8(ascii: "t"),
            bytes[13] == UInt8(ascii: ":"), bytes[16] == UInt8(ascii: ":"),
            (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second < 61
        else { return nil }
        var index = 19
        var fraction: Int64 = 0
        if bytes[index] == UInt8(ascii: ".") {
            let start = index + 1
            index = start
            while index < bytes.count, (0x30...0x39).contains(bytes[index]) {
                if index - start < 3 { fraction = fraction * 10 + Int64(bytes[index] - 0x30) }
                index += 1
            }
            guard index > start else { return nil }
            for _ in 0..<max(0, 3 - (index - start)) { fraction *= 10 }
        }
        guard index < bytes.count else { return nil }
        var offset: Int64 = 0
        if bytes[index] | 0x20 == UInt8(ascii: "z") {
            guard index + 1 == bytes.count else { return nil }
        } else {
            guard bytes[index] == UInt8(ascii: "+") || bytes[index] == UInt8(ascii: "-"), index + 6 == bytes.count,
                bytes[index + 3] == UInt8(ascii: ":"), let hours = number((index + 1)..<(index + 3)),
                let minutes = number((index + 4)..<(index + 6)), hours < 24, minutes < 60
            else { return nil }
            offset = (hours * 60 + minutes) * (bytes[index] == UInt8(ascii: "+") ? 60_000 : -60_000)
        }
        guard let midnight = Self(year: year, month: month, day: day) else { return nil }
        let seconds = (hour * 60 + minute) * 60 + second
        self.init(milliseconds: midnight.milliseconds + seconds * 1000 + fraction - offset)
    }
}

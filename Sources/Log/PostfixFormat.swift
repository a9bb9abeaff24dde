// PostfixFormat.swift — our lines in the words of Postfix, so that pflogsumm and the exporters people have keep working.
//
// Made by the writer thread out of the text format: it costs those who log nothing, and nothing when it is not wanted.

import Glibc

/// `Nov 22 18:00:00 relay postfix/smtp[42]: 1kdh…: to=<a@example.com>, relay=…, delay=…, dsn=2.0.0, status=sent (250 …)`.
struct PostfixFormat {
    private let host: String
    private let pid: Int32

    init() {
        var name = [CChar](repeating: 0, count: 256)
        gethostname(&name, 255)
        let bytes = name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        host = bytes.isEmpty ? "localhost" : String(decoding: bytes, as: UTF8.self)
        pid = getpid()
    }

    /// Whole lines of the text format, in Postfix's.
    func translate(_ batch: [UInt8]) -> [UInt8] {
        var out: [UInt8] = []
        for line in batch.split(separator: UInt8(ascii: "\n")) {
            let text = String(decoding: line, as: UTF8.self)
            guard let parsed = Line(text) else { continue }
            // A daemon of Postfix has one client at a time: each session is one of its own, so that lines belong together.
            let session = parsed["session"]
            for (daemon, body) in lines(parsed) {
                let process = daemon == "smtpd" ? session ?? "\(pid)" : "\(pid)"
                out += "\(Self.stamp(parsed.time)) \(host) postfix/\(daemon)[\(process)]: \(body)\n".utf8
            }
        }
        return out
    }

    private func lines(_ line: Line) -> [(String, String)] {
        let id = line["id"] ?? "NOQUEUE"
        switch LogEvent(line.message.utf8) {
        case .accepted:
            let client = "client=\(Self.client(line["client"]))\(Self.login(line))"
            let count = line["recipients"] ?? "1"
            return [
                ("smtpd", "\(id): \(client)"), ("cleanup", "\(id): message-id=<\(id)@\(host)>"),
                (
                    "qmgr",
                    "\(id): from=<\(line["from"] ?? "")>, size=\(line["size"] ?? "0"), nrcpt=\(count) (queue active)"
                ),
            ]
        case .delivered: return [("smtp", delivery(id, line, "sent"))]
        case .deferred: return [("smtp", delivery(id, line, "deferred"))]
        case .bounced: return [("smtp", delivery(id, line, "bounced"))]
        case .discarded: return [("discard", delivery(id, line, "sent"))]
        case .finished: return [("qmgr", "\(id): removed")]
        case nil:
            if let found = SessionEvent(line.message.utf8).flatMap({ session($0, line) }) {
                return found.map { ("smtpd", $0) }
            }
            let level = ["warning", "error", "critical"].contains(line.level) ? "warning: " : ""
            return [("master", "\(level)\(line.message)\(line.rest.isEmpty ? "" : ": ")\(line.rest)")]
        }
    }

    private func delivery(_ id: String, _ line: Line, _ status: String) -> String {
        let reply = line["reply"] ?? ""
        // How old the mail is; what `delay_s` says of a deferral is when it is tried again.
        let delay = line["age_s"] ?? line["delay_s"] ?? "0"
        return "\(id): to=<\(line["to"] ?? "")>, relay=\(Self.relay(line["mx"])), delay=\(delay), "
            + "delays=0/0/0/\(delay), dsn=\(Self.status(reply, status)), status=\(status) (\(reply))"
    }

    /// `unknown[192.0.2.1]`: we ask no DNS who a client is; mail that was made here has no client.
    static func client(_ literal: String?) -> String {
        literal.map { "unknown\(bracketed($0))" } ?? "localhost[127.0.0.1]"
    }

    private static func login(_ line: Line) -> String {
        guard let user = line["user"] else { return "" }
        return ", sasl_method=\(line["mechanism"] ?? "PLAIN"), sasl_username=\(user)"
    }

    /// Our address literals are `[192.0.2.1]` and `[IPv6:2001:db8::1]`.
    private static func bracketed(_ client: String) -> String {
        guard client.utf8.first == UInt8(ascii: "[") else { return "[\(client)]" }
        let prefix = "[IPv6:".utf8
        return client.utf8.starts(with: prefix) ? "[\(Substring(client.utf8.dropFirst(prefix.count)))" : client
    }

    /// `mx1.example.com[192.0.2.1]:25`; our text names host, address, or both.
    private static func relay(_ mx: String?) -> String {
        guard let mx, !mx.isEmpty else { return "none" }
        let first = mx.utf8.split(separator: UInt8(ascii: " ")).first.map { String(Substring($0)) } ?? mx
        guard !first.utf8.contains(UInt8(ascii: "[")), let colon = first.utf8.lastIndex(of: UInt8(ascii: ":")) else {
            return first
        }
        let name = first[..<colon]
        return "\(name)[\(name)]\(first[colon...])"
    }

    /// The enhanced status of a reply, or one that says as much as its first digit.
    static func status(_ reply: String, _ outcome: String) -> String {
        let words = reply.utf8.split(separator: UInt8(ascii: " "), maxSplits: 2)
        if words.count > 1, isStatus(String(Substring(words[1]))) { return String(Substring(words[1])) }
        switch outcome {
        case "sent": return "2.0.0"
        case "bounced": return "5.0.0"
        default: return "4.0.0"
        }
    }

    /// Whether a word is an enhanced status such as `5.7.1`.
    static func isStatus(_ word: String) -> Bool {
        let dot = UInt8(ascii: ".")
        return word.utf8.split(separator: dot).count == 3
            && word.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == dot }
    }

    /// `Nov 22 19:00:00`, in the zone of the machine, as syslog writes it.
    private static func stamp(_ time: Substring) -> String {
        let numbers = time.utf8.split { !(0x30...0x39).contains($0) }.compactMap { Int32(Substring($0)) }
        guard numbers.count >= 6 else { return String(time) }
        var parts = tm()
        parts.tm_year = numbers[0] - 1900
        parts.tm_mon = numbers[1] - 1
        parts.tm_mday = numbers[2]
        parts.tm_hour = numbers[3]
        parts.tm_min = numbers[4]
        parts.tm_sec = numbers[5]
        var second = timegm(&parts)
        localtime_r(&second, &parts)
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        func two(_ number: Int32, _ pad: Character = "0") -> String { number < 10 ? "\(pad)\(number)" : "\(number)" }
        let clock = "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
        return "\(months[Int(parts.tm_mon) % 12]) \(two(parts.tm_mday, " ")) \(clock)"
    }
}

/// A line of the text format, taken apart.
struct Line {
    let time: Substring
    let level: Substring
    let message: String
    /// Everything behind the message, as it was.
    let rest: Substring
    private var fields: [Substring: String] = [:]

    init?(_ text: String) {
        let (blank, equal) = (UInt8(ascii: " "), UInt8(ascii: "="))
        let words = text.utf8.split(separator: blank, maxSplits: 2).map { Substring($0) }
        guard words.count == 3 else { return nil }
        (time, level) = (words[0], words[1])
        let body = words[2].utf8
        // The message is constant text without an equals sign; the first word with one begins the fields.
        let equals = body.firstIndex(of: equal)
        let start = equals.map { body[..<$0].lastIndex(of: blank) ?? body.startIndex } ?? body.endIndex
        message = String(Substring(body[..<start]))
        var left = body[start...].drop { $0 == blank }
        rest = Substring(left)
        while let equals = left.firstIndex(of: equal) {
            let key = Substring(left[..<equals])
            left = left[equals...].dropFirst()
            fields[key] = Self.value(&left)
            left = left.drop { $0 == blank }
        }
    }

    subscript(_ key: Substring) -> String? { fields[key] }

    /// Takes a value off the front, without its quotes; escapes stay, they are what makes it one line.
    private static func value(_ left: inout Substring.UTF8View) -> String {
        let (quote, backslash) = (UInt8(ascii: "\""), UInt8(ascii: "\\"))
        guard left.first == quote else {
            let value = left.prefix { $0 != UInt8(ascii: " ") }
            left = left[value.endIndex...]
            return String(Substring(value))
        }
        var value: [UInt8] = []
        left = left.dropFirst()
        while let octet = left.popFirst(), octet != quote {
            guard octet == backslash, let next = left.popFirst() else {
                value.append(octet)
                continue
            }
            if next != quote { value.append(backslash) }
            value.append(next)
        }
        return String(decoding: value, as: UTF8.self)
    }
}

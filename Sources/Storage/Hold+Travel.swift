// Hold+Travel.swift — the holds of a message that goes from one relay to another: what it waits for, and what held it before.
//
// They are holds like others, so they are durable, survive a restart, and people see them. Nothing that bears one is delivered:
// while nobody knows which relay has a message, neither sends it.

package import Mail

extension Hold {
    private static let leaving = "on its way to "
    private static let before = ", held before"
    private static let end = " until "
    private static let arriving = "arriving from another relay: "

    /// What a message bears from before it is sent to another relay until it is known to be there.
    ///
    /// - Parameters:
    ///   - peer: without blanks and commas.
    ///   - known: what holds it already; of a long reason the end is lost.
    package static func leaving(to peer: String, before known: Hold?, at now: Timestamp) -> Hold {
        var words = leaving + peer
        if let known {
            words += before
            if let until = known.until { words += "\(end)\(until.clamped.milliseconds)" }
            if !known.reason.isEmpty { words += ": \(known.reason)" }
        }
        return Hold(since: known?.since ?? now, reason: words)
    }

    /// Where the message may be as well; nil: it is not on its way.
    package var destination: String? {
        guard let rest = reason.rest(behind: Self.leaving) else { return nil }
        return String(Substring(rest.utf8.prefix { $0 != UInt8(ascii: ",") && $0 != UInt8(ascii: " ") }))
    }

    /// What held a message that is on its way; nil: nothing did.
    package var beforeLeaving: Hold? {
        guard let peer = destination, let rest = reason.rest(behind: Self.leaving + peer + Self.before) else {
            return nil
        }
        guard let timed = rest.rest(behind: Self.end) else {
            return Hold(since: since, reason: String(rest.rest(behind: ": ") ?? ""))
        }
        let digits = timed.utf8.prefix { (0x30...0x39).contains($0) }
        let words = Substring(timed.utf8.dropFirst(digits.count)).rest(behind: ": ") ?? ""
        let until = Int64(String(Substring(digits))).map { Timestamp(milliseconds: $0) }
        return Hold(since: since, until: until, reason: String(words))
    }

    /// What a message bears that came from another relay, until it is written down that it did.
    package static func arriving(_ fingerprint: String, at now: Timestamp) -> Hold {
        Hold(since: now, reason: arriving + fingerprint)
    }

    /// It is what a message with that fingerprint bears.
    package func isArriving(_ fingerprint: String) -> Bool { reason.isSame(octets: Self.arriving + fingerprint) }
}

// TallyTests.swift — numbers of the past are what happened, whatever was put together on the way, and stay bounded.

import Mail
import TestSupport
import Testing

@testable import History

@Suite struct TallyTests {
    @Test func delayClassesLieSideBySideAndAreNarrow() {
        var last = Tally.delayClass(0)
        for delay in Int64(0)..<100_000 {
            let number = Tally.delayClass(delay)
            #expect(number == last || number == last + 1)
            let end = Tally.end(ofDelayClass: number)
            #expect(end >= delay && end <= max(4, delay + delay / 4 + 1))
            last = number
        }
        #expect(Tally.delayClass(.max) < UInt8.max)
        #expect(Tally.delayClass(-5) == Tally.delayClass(0))
    }

    @Test func percentilesAreThoseOfTheDeliveries() {
        var tally = Tally()
        #expect(tally.delay(percent: 50) == nil)
        for milliseconds in 1...1_000 { tally.deliver(1, after: Int64(milliseconds)) }
        #expect((500...625).contains(tally.delay(percent: 50) ?? 0))
        #expect((950...1_190).contains(tally.delay(percent: 95) ?? 0))
        #expect(tally.delivered == 1_000)
    }

    /// A flood of names takes no more room, and nothing is lost of the sums.
    @Test func namesBeyondTheBoundAreCountedAsOthers() {
        var sheet = TallySheet()
        for number in 0..<5_000 { sheet.with(.tag, "tag\(number)") { $0.accepted += 1 } }
        sheet.with(.tag, "tag3") { $0.accepted += 1 }
        sheet.with(.user, "me") { $0.accepted += 1 }
        let (named, others) = sheet.list(.tag)
        #expect(named.count == TallySheet.mostNames)
        #expect(named.first?.name == "tag3")
        #expect(others.accepted == 5_001 - named.reduce(0) { $0 + $1.tally.accepted })
        #expect(sheet.list(.user).named.map(\.name) == ["me"])
    }

    @Test func sheetsComeBackAsTheyWereAndAddUp() {
        var random = SeededRandom(seed: 3)
        var whole = TallySheet()
        var read = TallySheet()
        for _ in 0..<20 {
            var sheet = TallySheet()
            for _ in 0..<50 {
                let kind = TallyKind.allCases.randomElement(using: &random) ?? .tag
                sheet.with(kind, "name\(Int.random(in: 0..<30, using: &random))") { tally in
                    tally.accepted += 1
                    tally.deliver(2, after: Int64.random(in: 0..<1 << 30, using: &random))
                    tally.bounced[FailureReason.allCases.randomElement(using: &random) ?? .other, default: 0] += 3
                }
            }
            whole.add(sheet)
            read.add(encoded: sheet.encoded)
        }
        for kind in TallyKind.allCases {
            #expect(whole.list(kind).named.map(\.tally) == read.list(kind).named.map(\.tally))
            #expect(whole.list(kind).named.map(\.name) == read.list(kind).named.map(\.name))
        }
        let bytes = read.encoded
        for length in bytes.indices {
            var cut = TallySheet()
            cut.add(encoded: Array(bytes.prefix(length)))
        }
    }

    @Test(arguments: [
        ("mx1.example.com", "example.com"), ("gmail-smtp-in.l.google.com", "l.google.com"),
        ("example.com", "example.com"), ("localhost", "localhost"), ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1.2.3.4", "2001:db8::1.2.3.4"), ("", ""),
    ])
    func aProviderIsWhatStandsBehindTheFirstLabel(host: String, provider: String) {
        #expect(Array(host.utf8).withUnsafeBytes { Array(AttemptGlance.provider(of: $0)) } == Array(provider.utf8))
    }

    /// Who only counts sees what the whole reader sees.
    @Test func aGlanceAgreesWithTheWholeFact() {
        var random = SeededRandom(seed: 11)
        func flip() -> Bool { Bool.random(using: &random) }
        for _ in 0..<2_000 {
            let lane = LaneName(
                flip() ? .route("r\(Int.random(in: 0..<9, using: &random))") : .domain(Domain(unchecked: "x.example"))
            )
            var attempt = AttemptFact(
                at: Timestamp(milliseconds: Int64.random(in: 1...4_000_000_000_000, using: &random)),
                attempt: Int.random(in: 1...40, using: &random),
                lane: lane
            )
            if flip() { attempt.source = IPAddress(flip() ? "192.0.2.1" : "2001:db8::1") }
            if flip() { attempt.stages = [EventData.Stage("queued", 5), EventData.Stage("data", 7_000)] }
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                let result = AttemptFact.Part.Result(rawValue: UInt8.random(in: 0...3, using: &random)) ?? .delivered
                let recipients = (0..<UInt32.random(in: 1...300, using: &random)).map { $0 }
                var words = EventData.Words(code: 250, text: flip() ? "" : String(repeating: "é", count: 90))
                if flip() { words.enhanced = EnhancedStatus(5, 700, 3) }
                var part = AttemptFact.Part(result, recipients, words)
                if flip() {
                    part.host = EventData.Host(host: "mx.one.example", ip: flip() ? attempt.source : nil, port: 25)
                }
                if flip() { part.tls = ChannelSecurity(version: "TLSv1.3", cipher: "c", trust: .none) }
                if flip() {
                    part.reason = FailureReason.allCases.randomElement(using: &random)
                    part.words.stage = "data"
                    if flip() { part.next = attempt.time }
                }
                attempt.parts.append(part)
            }
            struct Seen: Equatable {
                var time: Timestamp
                var route: String
                var result: AttemptFact.Part.Result
                var recipients: Int
                var reason: FailureReason?
                var provider: String?
            }
            func text(_ octets: UnsafeRawBufferPointer) -> String { String(decoding: octets, as: UTF8.self) }
            var seen: [Seen] = []
            AttemptGlance.each(of: Facts(.time(attempt.time)).followed(by: Facts(.attempt(attempt)))) {
                seen.append(
                    Seen(
                        time: $0.time,
                        route: text($0.route),
                        result: $0.result,
                        recipients: $0.recipients,
                        reason: $0.reason,
                        provider: $0.provider.map(text)
                    )
                )
            }
            let parts = attempt.parts.map { part in
                Seen(
                    time: attempt.time,
                    route: attempt.lane.route,
                    result: part.result,
                    recipients: part.recipients.count,
                    reason: part.reason,
                    provider: part.host.map { host in
                        Array(host.host.utf8).withUnsafeBytes { text(AttemptGlance.provider(of: $0)) }
                    }
                )
            }
            #expect(seen == parts)
        }
    }
}

// LogSinkTests.swift — lines as they leave the descriptor.

import Glibc
import Log
import Testing

/// A sink that writes into a pipe, and what came out of it.
private struct Pipe {
    let read: Int32
    let write: Int32

    init() {
        var ends: [Int32] = [-1, -1]
        #expect(pipe(&ends) == 0)
        (read, write) = (ends[0], ends[1])
    }

    /// Ends the writing side and returns everything that was written.
    func drain() -> String {
        close(write)
        var all: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(read, &block, block.count)
            guard count > 0 else { break }
            all += block.prefix(count)
        }
        close(read)
        return String(decoding: all, as: UTF8.self)
    }
}

private func lines(
    _ format: LogFormat = .text,
    level: LogLevel = .notice,
    _ body: (LogSink) -> Void
) -> [Substring] {
    let pipe = Pipe()
    let sink = LogSink(descriptor: pipe.write, format: format, level: level)
    body(sink)
    sink.close()
    return pipe.drain().split(separator: "\n")
}

@Suite struct LogSinkTests {
    @Test func writesTimeLevelMessageAndFieldsInOrder() throws {
        let written = lines { sink in
            sink.write(.notice, "message accepted") { line in
                line.add(.id, "0d8c1zq4g0000")
                line.add(.to, "bob", UInt8(ascii: "@"), "b.example")
                line.add(.delay, seconds: 12_034)
                line.add(.size, -7)
                line.add(.reply, "250 2.0.0 Ok")
            }
        }
        #expect(written.count == 1)
        let line = try #require(written.first)
        let fields =
            #"notice message accepted id=0d8c1zq4g0000 to=bob@b.example delay_s=12.034 size=-7 reply="250 2.0.0 Ok""#
        #expect(line.dropFirst(25) == fields)
        #expect(line.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z .*/) != nil)
    }

    @Test func writesOneJSONObjectALine() throws {
        let written = lines(.json) { sink in
            sink.write(.warning, "ready") { line in
                line.add(.listen, "127.0.0.1:2525 \"x\"\n")
                line.add(.port, 25)
                line.add(.to, "a", UInt8(ascii: "@"), "b")
            }
        }
        let line = try #require(written.first)
        #expect(line.hasPrefix(#"{"time":"2"#))
        #expect(
            line.dropFirst(33)
                == #"","level":"warning","message":"ready","listen":"127.0.0.1:2525 \"x\"\n","port":25,"to":"a@b"}"#
        )
    }

    @Test func filtersByLevelWithoutCallingTheClosure() {
        var called = 0
        let written = lines(level: .info) { sink in
            sink.write(.debug, "quiet") { _ in called += 1 }
            sink.write(.info, "said") { _ in called += 1 }
            sink.level = .debug
            sink.write(.debug, "now said") { _ in called += 1 }
        }
        #expect(written.map { $0.dropFirst(25) } == ["info said", "debug now said"])
        #expect(called == 2)
    }

    @Test(arguments: [
        ("plain", "plain"), ("", #""""#), ("a b", #""a b""#), ("a=b", #""a=b""#), (#"a"b"#, #""a\"b""#),
        (#"a\b"#, #""a\\b""#), ("a\r\nnotice forged id=1", #""a\r\nnotice forged id=1""#), ("\t", #""\t""#),
        ("\u{0}\u{1B}[2J\u{7F}", #""\x00\x1b[2J\x7f""#), ("jörg@exämple.org", "jörg@exämple.org"),
        ("a\u{85}b", #""a\u0085b""#), ("a\u{2028}b\u{202E}c", #""a\u2028b\u202ec""#), ("日本 語", #""日本 語""#),
    ])
    func keepsAValueOneValue(value: String, shown: String) {
        let written = lines { sink in sink.write(.notice, "m") { $0.add(.text, value) } }
        #expect(written.map { $0.dropFirst(25) } == ["notice m text=\(shown)"])
    }

    @Test func escapesWhatIsNotUTF8() {
        let bytes: [UInt8] = [0x61, 0xFF, 0xC0, 0xAF, 0xED, 0xA0, 0x80, 0xC3]
        for (format, shown) in [
            (LogFormat.text, #""a\xff\xc0\xaf\xed\xa0\x80\xc3""#),
            (.json, "\"a" + String(repeating: #"\ufffd"#, count: 7) + "\"}"),
        ] {
            let written = lines(format) { sink in
                sink.write(.notice, "m") { line in bytes.withUnsafeBytes { line.add(.text, bytes: $0) } }
            }
            #expect(written.first?.hasSuffix(shown) == true, "\(written)")
        }
    }

    @Test func cutsValuesAt512BytesBetweenCharacters() throws {
        let long = String(repeating: "a", count: 511) + "é" + String(repeating: "b", count: 100)
        let written = lines { sink in sink.write(.notice, "m") { $0.add(.text, long) } }
        let line = try #require(written.first)
        #expect(line.dropFirst(25) == "notice m text=" + String(repeating: "a", count: 511) + "…")
    }

    @Test(arguments: [LogFormat.text, .json])
    func cutsALineByWholeFields(format: LogFormat) throws {
        let hostile = String(repeating: "\u{1}", count: 512)
        let written = lines(format) { sink in
            sink.write(.notice, "m") { line in
                for _ in 0..<20 { line.add(.text, hostile) }
                line.add(.id, "last")
            }
        }
        #expect(written.count == 1)
        let line = try #require(written.first)
        #expect(line.utf8.count <= 4096)
        #expect(line.hasSuffix(format == .json ? #""id":"last","cut":true}"# : "id=last cut=true"))
    }

    @Test func linesOfManyThreadsAreWholeAndNoneIsLost() async {
        let pipe = Pipe()
        let sink = LogSink(descriptor: pipe.write)
        let reader = Task.reading(pipe)
        await withTaskGroup(of: Void.self) { group in
            for worker in 0..<4 {
                group.addTask {
                    for number in 0..<2000 {
                        sink.write(.notice, "n") { line in
                            line.add(.session, worker)
                            line.add(.count, number)
                        }
                    }
                }
            }
        }
        sink.close()
        close(pipe.write)
        let all = await reader.value
        var next = [Int](repeating: 0, count: 4)
        for line in all.split(separator: "\n") {
            let words = line.dropFirst(25).split(separator: " ")
            guard words.count == 4, let worker = Int(words[2].dropFirst(8)), let number = Int(words[3].dropFirst(6))
            else {
                Issue.record("torn line: \(line)")
                continue
            }
            #expect(next[worker] == number)
            next[worker] = number + 1
        }
        #expect(next == [2000, 2000, 2000, 2000])
    }
}

extension Task where Success == String, Failure == Never {
    /// Reads a pipe to its end on a thread of the pool.
    fileprivate static func reading(_ pipe: Pipe) -> Task<String, Never> {
        Task {
            var all: [UInt8] = []
            var block = [UInt8](repeating: 0, count: 65_536)
            while true {
                let count = Glibc.read(pipe.read, &block, block.count)
                guard count > 0 else { break }
                all += block.prefix(count)
            }
            return String(decoding: all, as: UTF8.self)
        }
    }
}

@Suite struct LogSinkTroubleTests {
    @Test func aStoppedReaderHoldsUpNobodyAndTheLossIsCounted() throws {
        let pipe = Pipe()
        let sink = LogSink(descriptor: pipe.write, limit: 10_000)
        // Far more than a pipe and the buffer take together; this must return although nobody reads.
        for _ in 0..<20_000 {
            sink.write(.notice, "filler") { $0.add(.text, "0123456789012345678901234567890123456789") }
        }
        var seen = 0
        var dropped = 0
        var rest = ""
        var block = [UInt8](repeating: 0, count: 65_536)
        while seen + dropped < 20_000 {
            let count = Glibc.read(pipe.read, &block, block.count)
            guard count > 0 else { break }
            rest += String(decoding: block.prefix(count), as: UTF8.self)
            var lines = rest.split(separator: "\n", omittingEmptySubsequences: false)
            rest = String(lines.removeLast())
            for line in lines {
                if line.dropFirst(25).hasPrefix("notice filler") { seen += 1 }
                guard let counter = line.firstMatch(of: /warning log lines dropped count=(\d+)/) else { continue }
                dropped += Int(counter.1) ?? 0
            }
        }
        sink.close()
        #expect(seen + dropped == 20_000)
        #expect(dropped > 1000)
    }

    @Test func aClosedReaderIsNoTrouble() {
        let pipe = Pipe()
        close(pipe.read)
        let sink = LogSink(descriptor: pipe.write)
        for _ in 0..<1000 { sink.write(.notice, "to nobody") }
        sink.close()
        close(pipe.write)
    }

    @Test func flushReturnsWhenTheReaderIsStopped() {
        let pipe = Pipe()
        let sink = LogSink(descriptor: pipe.write)
        for _ in 0..<5000 {
            sink.write(.notice, "filler") { $0.add(.text, "0123456789012345678901234567890123456789") }
        }
        sink.flush(patience: 20)
        close(pipe.read)
        sink.close()
    }
}

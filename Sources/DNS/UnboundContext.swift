// UnboundContext.swift — a libunbound context: its options, its questions, its answers copied into values.
//
// Used by one thread after it was made. libunbound works on a thread of its own; `process` calls back on ours.

import CUnbound
import Mail

/// One `ub_ctx`, freed with its last reference; libunbound joins its thread then.
final class UnboundContext {
    /// What a question came to, by the number it was asked under.
    struct Finished {
        let id: UInt64
        let result: Result<RawAnswer, DNSError>
    }

    /// Where the callback leaves answers while `process` runs.
    private final class Inbox {
        var finished: [Finished] = []
    }

    /// What the callback gets to see of a question.
    private final class Question {
        let id: UInt64
        let inbox: Inbox
        var unboundID: Int32 = 0

        init(id: UInt64, inbox: Inbox) {
            self.id = id
            self.inbox = inbox
        }
    }

    /// More records than this of one answer are not looked at.
    private static let mostRecords = 256

    private let context: OpaquePointer
    private let inbox = Inbox()
    /// Keeps questions alive for the callback, which holds no reference.
    private var questions: [UInt64: Question] = [:]

    /// Whom a context asks, and how.
    enum Role {
        /// One forwarder, once for each question: an answer comes, or it does not.
        case forwarder(String)
        /// Whichever forwarder answers, several times.
        case everyForwarder
    }

    /// More forwarders than this are not used.
    private static let mostForwarders = 8

    /// - Throws: what libunbound did not accept.
    init(_ options: UnboundResolver.Options, _ role: Role) throws(DNSError) {
        guard let context = ub_ctx_create() else { throw .serverFailure("no memory for a resolver") }
        self.context = context
        try configure(options, role)
    }

    /// One for each forwarder.
    static func all(_ options: UnboundResolver.Options) throws(DNSError) -> [UnboundContext] {
        var contexts: [UnboundContext] = []
        for forwarder in forwarders(options) {
            contexts.append(try UnboundContext(options, .forwarder(forwarder)))
        }
        return contexts
    }

    private static func forwarders(_ options: UnboundResolver.Options) -> [String] {
        let known = options.forwarders.isEmpty ? SystemResolvers.read() : options.forwarders
        return Array(known.prefix(mostForwarders))
    }

    /// Readable when ``process()`` has something to do.
    var descriptor: Int32 { ub_fd(context) }

    /// Questions without an answer yet.
    var open: Int { questions.count }

    /// Puts a question; the answer comes out of ``process()`` with the same id.
    func ask(_ id: UInt64, _ name: String, _ type: RecordType) throws(DNSError) {
        let question = Question(id: id, inbox: inbox)
        let code = ub_resolve_async(
            context,
            name,
            type.rawValue,
            1,
            Unmanaged.passUnretained(question).toOpaque(),
            { data, code, result in
                guard let data else { return }
                let question = Unmanaged<Question>.fromOpaque(data).takeUnretainedValue()
                let answer = UnboundContext.read(code, result)
                ub_resolve_free(result)
                question.inbox.finished.append(Finished(id: question.id, result: answer))
            },
            &question.unboundID
        )
        try Self.check(code, "question")
        questions[id] = question
    }

    /// Gives up a question; its answer will not come out any more.
    func cancel(_ id: UInt64) {
        guard let question = questions.removeValue(forKey: id) else { return }
        ub_cancel(context, question.unboundID)
    }

    /// Takes the answers that have come.
    func process() throws(DNSError) -> [Finished] {
        try Self.check(ub_process(context), "process")
        let finished = inbox.finished
        inbox.finished = []
        for answer in finished { questions[answer.id] = nil }
        return finished
    }

    deinit { ub_ctx_delete(context) }

    // MARK: - Options

    private func configure(_ options: UnboundResolver.Options, _ role: Role) throws(DNSError) {
        try Self.check(ub_ctx_async(context, 1), "async")
        // A question has a socket of its own; those that wait for one would count as time-outs of the forwarder. What
        // libunbound thinks of a forwarder's health lasts a second: it takes dead domains for a dead forwarder.
        let settings = [
            ("outgoing-range:", "\(options.inFlight * 2 + 64)"), ("num-queries-per-thread:", "\(options.inFlight * 2)"),
            ("outgoing-num-tcp:", "32"), ("infra-host-ttl:", "1"), ("infra-cache-max-rtt:", "120000"),
            ("infra-keep-probing:", "yes"), ("outbound-msg-retry:", "1"), ("cache-max-ttl:", "86400"),
            ("cache-max-negative-ttl:", "300"), ("msg-cache-size:", "8m"), ("rrset-cache-size:", "16m"),
            ("use-syslog:", "no"),
        ]
        for (name, value) in settings { try set(name, value) }
        if case .forwarder = role {
            // Each repetition is one more question that the resolver holds; `PumpThread` repeats what is worth it.
            try set("infra-cache-min-rtt:", "\(options.timeout.components.seconds * 1000 + 1000)")
        }
        if options.readsHosts { try Self.check(ub_ctx_hosts(context, nil), "/etc/hosts") }
        if let file = options.trustAnchorFile { try Self.check(ub_ctx_add_ta_file(context, file), file) }
        // The system's own resolver is often on loopback too (systemd-resolved, dnsmasq).
        try set("do-not-query-localhost:", "no")
        var forwarders = Self.forwarders(options)
        if case .forwarder(let forwarder) = role { forwarders = [forwarder] }
        for forwarder in forwarders { try Self.check(ub_ctx_set_fwd(context, forwarder), forwarder) }
        // Names that unbound would answer by itself: whoever is asked decides. The first such call ends configuration.
        for zone in ["test.", "home.arpa."] { try Self.check(ub_ctx_zone_remove(context, zone), zone) }
    }

    private func set(_ name: String, _ value: String) throws(DNSError) {
        try Self.check(ub_ctx_set_option(context, name, value), name)
    }

    private static func check(_ code: Int32, _ what: String) throws(DNSError) {
        guard code != 0 else { return }
        throw .serverFailure("\(what): \(String(cString: ub_strerror(code)))")
    }

    // MARK: - Answers

    private static func read(_ code: Int32, _ result: UnsafeMutablePointer<ub_result>?) -> Result<RawAnswer, DNSError> {
        guard code == 0, let result = result?.pointee else {
            return .failure(.serverFailure(String(cString: ub_strerror(code))))
        }
        if result.bogus != 0 {
            return .failure(.bogus(result.why_bogus.map { printable(String(cString: $0)) } ?? "no reason given"))
        }
        if result.nxdomain != 0 { return .failure(.noSuchName) }
        guard result.rcode == 0 else { return .failure(.serverFailure(name(ofCode: result.rcode))) }
        var records: [[UInt8]] = []
        if result.havedata != 0, let data = result.data, let lengths = result.len {
            while records.count < mostRecords, let record = data[records.count] {
                let bytes = UnsafeRawBufferPointer(start: record, count: max(0, Int(lengths[records.count])))
                records.append(Array(bytes))
            }
        }
        return .success(
            RawAnswer(
                records: records,
                isSecure: result.secure != 0,
                timeToLive: .seconds(Int64(max(0, result.ttl))),
                canonicalName: result.canonname.flatMap { Domain(String(cString: $0)) }
            )
        )
    }

    /// - Source: RFC 1035 §4.1.1
    private static func name(ofCode code: Int32) -> String {
        switch code {
        case 1: "FORMERR"
        case 2: "SERVFAIL"
        case 4: "NOTIMP"
        case 5: "REFUSED"
        default: "response code \(code)"
        }
    }

    /// The reason quotes names from the answer.
    private static func printable(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.prefix(300).map { (0x20...0x7E).contains($0.value) ? $0 : "?" }
            )
        )
    }
}

// Itinerary+JSON.swift — a way as `/v1/explain` answers it. Nothing secret is in it: users, never their passwords or tokens.

import Config
import DNS
import Departure
import Hooks
import JSON
import Mail
import OpenSSL
import Queue

extension JSON {
    /// The way of one recipient's mail, each decision with its because.
    ///
    /// - Parameters:
    ///   - alias: everybody whom `aliases` has for the address that was asked about; nil for no such line.
    ///   - rewritten: what `rewrite.ini` makes of the addresses that were asked about.
    ///   - staging: where it goes instead, because its system only tries things out.
    ///   - returnPath: the address in whose place each recipient's mail has a sender of its own; nil: the sender's.
    ///   - milters: those that see the mail, in their order.
    ///   - isWhole: it does not come in step by step, by SMTP.
    ///   - bulkRules: how its sender's domain stands to what large providers ask for; nil: nobody wants to know.
    init(
        _ way: Itinerary,
        alias: [EmailAddress]? = nil,
        rewritten: JSON = ["recipient": nil, "sender": nil],
        staging: JSON = nil,
        returnPath: String? = nil,
        milters: [MilterSettings] = [],
        isWhole: Bool = false,
        bulkRules: [Finding]? = nil
    ) {
        let source = way.sourceBecause
        let members: [Member] = [
            Member("recipient", .string("\(way.recipient)")),
            Member("alias", alias.map { .strings($0.map(\.description)) } ?? nil),
            Member("sender", .string("\(way.envelope.sender)")),
            Member("rewritten", rewritten),
            Member("staging", staging),
            Member("return_path", .optional(returnPath)),
            Member("milters", .array(milters.map { Self.milter($0, isWhole: isWhole) })),
            Member("route", .optional(way.decision.route?.match)),
            Member("route_because", .optional(way.decision.because?.rawValue)),
            Member("action", .string(way.action)),
            Member("action_text", .optional(way.decision.route?.words)),
            Member(
                "asked",
                .array(way.decision.asked.map { ["match": .string($0.match), "found": .bool($0.isMatch)] })
            ),
            Member(
                "lost",
                .array(
                    way.decision.lost.map { ["match": .string($0.match), "because": .string($0.because.rawValue)] }
                )
            ),
            Member("next_hop", .string("\(way.lane)")),
            Member("next_hop_because", .string(way.hopBecause.rawValue)),
            Member("demanded_tls", .optional(way.lane.tls?.description)),
            Member(
                "plugins",
                [
                    "send_email": .strings(way.delayingPlugins), "get_mx": .strings(way.guidingPlugins),
                    "get_mx_answer": .optional(way.guidingPlugins.isEmpty ? nil : way.guidance.word),
                ]
            ),
            Member("disabled", .bool(way.limits.isDisabled)),
            Member("disabled_reason", .optional(way.limits.isDisabled ? way.limits.disabledReason : nil)),
            Member("limits", Self.limits(way)),
            Member("lane", Self.lane(way)),
            Member("limits_in_force", DestinationEndpoints.limits(way.standing, way.askedAt, way.askedAtWall)),
            Member("source_pool", DestinationEndpoints.pool(way.pool, way.askedAt, way.askedAtWall)),
            Member("pauses", .array(way.standing.pauses.map(PauseEndpoints.view))),
            Member("learnt", .array(way.learnt.map(Self.learnt))),
            Member("bulk_rules", bulkRules.map { .array($0.map(Self.rule)) } ?? nil),
            Member("from_table", .bool(way.isFromTable)),
            Member("dnssec", .bool(way.isSecure)),
            Member("mx", .array(way.hosts.map { Self.host($0, source) })),
            Member("problem", .optional(way.problem?.reply.description)),
        ]
        self = .object(members)
    }

    private static func rule(_ rule: Finding) -> JSON {
        [
            "rule": .string(rule.name), "state": .string(rule.state.rawValue), "detail": .string(rule.detail),
            "remedy": .string(rule.remedy),
        ]
    }

    private static func milter(_ milter: MilterSettings, isWhole: Bool) -> JSON {
        // Of a client of SMTP; other mail is there as a whole.
        let steps = milter.choosesRecipients ? "from_recipient" : milter.seesAllEnvelopes ? "each_step" : "from_sender"
        return ["name": .string(milter.name), "asked_at": .string(isWhole ? "end_of_message" : steps)]
    }

    private static func limits(_ way: Itinerary) -> JSON {
        [
            "concurrency_max": .count(way.limits.concurrencyMax),
            "concurrency_per_lane": .count(way.limits.concurrencyPerLane),
            "recipients_per_transaction": .count(way.limits.alwaysSplit ? 1 : way.limits.recipientsPerTransaction),
            "messages_per_session": .count(way.limits.messagesBeforeQuit),
        ]
    }

    private static func lane(_ way: Itinerary) -> JSON {
        guard let report = way.laneReport else { return nil }
        return [
            "parcels": .count(report.parcels), "ready": .count(report.ready), "held": .count(report.held),
            "in_flight": .count(report.inFlight), "sessions": .count(report.sessions),
            "session_limit": .count(report.sessionLimit),
            "limited_by": .string(report.limitedBy.rawValue), "rests_until": .optional(way.restsUntil?.rfc3339),
        ]
    }

    private static func learnt(_ known: PeerMemory.Known) -> JSON {
        [
            "trait": .string(known.trait.rawValue), "value": .count(known.value),
            "until": .string(known.until.rfc3339),
        ]
    }

    /// What found the addresses of a name.
    private static func word(_ rule: NameRule) -> String {
        switch rule {
        case .literal: "literal"
        case .hosts: "hosts"
        case .search: "search"
        case .dns: "dns"
        }
    }

    private static func host(_ host: Itinerary.Host, _ source: SourceCause) -> JSON {
        let (mx, outline) = (host.mx, host.outline)
        return .object(
            said(mx) + [
                Member("shared_with", .count(host.equals)),
                Member("addresses", .strings(host.addresses.map(\.description))),
                Member("put_off", .bool(host.isPutOff)),
                Member("addresses_because", .optional(host.addressesBecause.map(word))),
                Member("problem", .optional(host.problem?.reply.description)),
            ] + decisions(outline, source) + [
                Member("authentic_because", .optional(host.trust.voucher?.rawValue)),
                Member("dane", .optional(host.trust.daneWord)),
                Member("tlsa", .strings(host.trust.tlsa.map(\.description))),
                Member("mta_sts", .optional(host.trust.policyWord)),
                Member(
                    "login_refused",
                    host.loginRefusal.map { ["at": .string($0.at.rfc3339), "reply": .string($0.words)] } ?? nil
                ),
                Member(
                    "token",
                    host.token.map { ["expires": .optional($0.expires?.rfc3339), "problem": .optional($0.trouble)] }
                        ?? nil
                ),
                Member("sessions", .array(host.sessions.map { session($0, host, source) })),
            ]
        )
    }

    /// What the route says of a host; how address, name and protection come out stands beside it.
    private static func said(_ mx: MX) -> [Member] {
        mx.properties.filter { ![.bind, .bindHelo, .tls].contains($0.property) }.map(\.member)
    }

    /// A session with one address.
    private static func session(_ departure: Departure, _ host: Itinerary.Host, _ source: SourceCause) -> JSON {
        let first = departure.first
        let trouble = host.troubles[departure.peer]
        let auth = departure.mx.auth
        return .object(
            [Member("address", .optional(departure.ip?.description))] + decisions(departure, source) + [
                Member("tls_names", .strings(first?.check.names ?? [])),
                Member("tls_fallback", .strings(departure.others.map(\.level.description))),
                Member("server_name", .string(departure.serverName)),
                Member("tls_broke_recently", .bool(trouble != nil)),
                Member("tls_trouble", trouble.map(Self.trouble) ?? nil),
                Member("learnt", .array((host.learnt[departure.peer] ?? []).map(learnt))),
                Member("refused", .optional(departure.refusal?.reason)),
                Member(
                    "auth_mechanisms",
                    mechanisms(departure, auth, isEncrypted: first.map { $0.level > .off } ?? true)
                ),
                Member(
                    "auth_mechanisms_in_clear",
                    first.map { $0.level <= .may } ?? false ? mechanisms(departure, auth, isEncrypted: false) : []
                ),
            ]
        )
    }

    private static func trouble(_ trouble: TLSTrouble) -> JSON {
        [
            "since": .string(trouble.since.rfc3339), "until": .string(trouble.until.rfc3339),
            "reply": .string(trouble.words),
            "lasts": .bool(trouble.isLasting), "refuses_clear": .bool(trouble.refusesClear),
        ]
    }

    private static func mechanisms(_ departure: Departure, _ auth: Credentials?, isEncrypted: Bool) -> JSON {
        .strings(auth.map { departure.mechanisms($0, isEncrypted: isEncrypted).map(\.rawValue) } ?? [])
    }

    /// Address, name and protection.
    private static func decisions(_ departure: Departure, _ source: SourceCause) -> [Member] {
        let first = departure.first
        return [
            Member("bind", .optional(departure.bind?.description)),
            Member("bind_because", .string(departure.bindBecause.word(source))),
            Member("helo", .string(departure.helo.name)),
            Member("helo_because", .string(departure.heloBecause.word(source))),
            Member("tls", .string(first?.level.description ?? "refused")),
            Member("tls_because", .string((first?.because ?? departure.refusal?.because ?? .setting).rawValue)),
        ]
    }
}

extension Itinerary {
    /// What becomes of the mail as far as routes and plugins decide it.
    fileprivate var action: String {
        guard hopBecause == .route else { return "relay" }
        return switch decision.route?.way {
        case .reject?: "reject"
        case .discard?: "discard"
        case .hosts?, .direct?, nil: "relay"
        }
    }
}

extension Routes.Entry {
    /// What a section says to mail that goes nowhere.
    fileprivate var words: String? {
        switch way {
        case .reject(let reply): "\(reply)"
        case .discard(let text): text
        case .hosts, .direct: nil
        }
    }
}

extension Departure.BindCause {
    fileprivate func word(_ source: SourceCause) -> String {
        switch self {
        case .route: "route"
        case .source: source.rawValue
        case .system: SourceCause.system.rawValue
        }
    }
}

extension Departure.HeloCause {
    fileprivate func word(_ source: SourceCause) -> String {
        switch self {
        case .route: "route"
        case .boundAddress: SourceCause.table.rawValue
        case .source: source.rawValue
        case .me: "me"
        }
    }
}

extension HostTrust {
    /// nil: not asked.
    fileprivate var daneWord: String? {
        guard askedForRecords else { return nil }
        return switch facts.dane {
        case .absent: "absent"
        case .usable: "usable"
        case .unusable: "unusable"
        case .failed: "failed"
        }
    }

    /// nil: not asked.
    fileprivate var policyWord: String? {
        guard askedForPolicy else { return nil }
        return switch facts.sts {
        case .absent: isUnderTest ? "testing" : "absent"
        case .match: "match"
        case .mismatch: "mismatch"
        }
    }
}

extension PeerCheck {
    /// The names that a certificate may be for.
    fileprivate var names: [String] {
        switch self {
        case .none: []
        case .names(let names): names
        case .dane(_, let base, let names): [base] + names
        }
    }
}

extension GetMXAnswer {
    fileprivate var word: String {
        switch self {
        case .next: "next"
        case .use: "use"
        case .reject: "reject"
        case .tryLater: "try_later"
        }
    }
}

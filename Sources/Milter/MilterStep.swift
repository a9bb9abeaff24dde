// MilterStep.swift — the letters of the milter protocol, version 6: what we say, in the order of a message, and for what there
// are macros.

/// What a milter is asked or told; its letter begins the packet.
package enum MilterStep: UInt8, CaseIterable, Hashable, Sendable {
    case negotiation = 0x4F
    case connect = 0x43
    case helo = 0x48
    case mail = 0x4D
    case rcpt = 0x52
    case data = 0x54
    case header = 0x4C
    case endOfHeader = 0x4E
    case body = 0x42
    case endOfBody = 0x45

    /// The step in a sentence or a metric.
    package var word: String {
        switch self {
        case .negotiation: "negotiation"
        case .connect: "connect"
        case .helo: "helo"
        case .mail: "mail"
        case .rcpt: "rcpt"
        case .data: "data"
        case .header: "header"
        case .endOfHeader: "end of header"
        case .body: "body"
        case .endOfBody: "end of message"
        }
    }

    /// Whether a step of a session, or DATA, comes before another one.
    package func isBefore(_ other: MilterStep) -> Bool {
        let order: [MilterStep] = [.connect, .helo, .mail, .rcpt, .data]
        return order.firstIndex(of: self) ?? 0 < order.firstIndex(of: other) ?? 0
    }

    /// Whether the milter may have the whole message to work on, which takes longer than a command.
    package var isAboutContent: Bool { self == .body || self == .endOfBody }

    /// What a milter that names macros of its own calls the step (`SMFIM_…`); nil: there are none.
    init?(macroStage: UInt32) {
        switch macroStage {
        case 0: self = .connect
        case 1: self = .helo
        case 2: self = .mail
        case 3: self = .rcpt
        case 4: self = .data
        case 5: self = .endOfBody
        case 6: self = .endOfHeader
        default: return nil
        }
    }
}

/// Commands that no milter answers.
enum MilterNotice {
    static let macros: UInt8 = 0x44
    /// The message is forgotten.
    static let abort: UInt8 = 0x41
    /// The connection ends.
    static let quit: UInt8 = 0x51
}

/// What a milter may change, as it is negotiated (`SMFIF_…`).
package struct MilterActions: OptionSet, Hashable, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let addHeaders = MilterActions(rawValue: 0x1)
    package static let changeBody = MilterActions(rawValue: 0x2)
    package static let addRecipients = MilterActions(rawValue: 0x4)
    package static let removeRecipients = MilterActions(rawValue: 0x8)
    package static let changeHeaders = MilterActions(rawValue: 0x10)
    package static let quarantine = MilterActions(rawValue: 0x20)
    package static let changeSender = MilterActions(rawValue: 0x40)
    package static let addRecipientsWithArguments = MilterActions(rawValue: 0x80)
    package static let nameMacros = MilterActions(rawValue: 0x100)

    /// All of them: we do whatever a milter asks for.
    package static let all = MilterActions(rawValue: 0x1FF)
    /// Those that version 2 knew.
    static let old = MilterActions(rawValue: 0x3F)
}

/// What a milter does not want to see, or to answer (`SMFIP_…`).
package struct MilterProtocol: OptionSet, Hashable, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let noConnect = MilterProtocol(rawValue: 0x1)
    package static let noHelo = MilterProtocol(rawValue: 0x2)
    package static let noMail = MilterProtocol(rawValue: 0x4)
    package static let noRcpt = MilterProtocol(rawValue: 0x8)
    package static let noBody = MilterProtocol(rawValue: 0x10)
    package static let noHeaders = MilterProtocol(rawValue: 0x20)
    package static let noEndOfHeader = MilterProtocol(rawValue: 0x40)
    package static let silentHeader = MilterProtocol(rawValue: 0x80)
    package static let noUnknown = MilterProtocol(rawValue: 0x100)
    package static let noData = MilterProtocol(rawValue: 0x200)
    package static let skip = MilterProtocol(rawValue: 0x400)
    /// Rejected recipients are shown too; they are not, because none of ours get so far.
    package static let rejectedRecipients = MilterProtocol(rawValue: 0x800)
    package static let silentConnect = MilterProtocol(rawValue: 0x1000)
    package static let silentHelo = MilterProtocol(rawValue: 0x2000)
    package static let silentMail = MilterProtocol(rawValue: 0x4000)
    package static let silentRcpt = MilterProtocol(rawValue: 0x8000)
    package static let silentData = MilterProtocol(rawValue: 0x1_0000)
    package static let silentUnknown = MilterProtocol(rawValue: 0x2_0000)
    package static let silentEndOfHeader = MilterProtocol(rawValue: 0x4_0000)
    package static let silentBody = MilterProtocol(rawValue: 0x8_0000)
    /// Values of fields are shown, and come back, with the blanks behind the colon.
    package static let leadingSpace = MilterProtocol(rawValue: 0x10_0000)

    package static let offered = MilterProtocol(rawValue: 0x1F_F7FF)
    /// Those that version 2 knew.
    static let old = MilterProtocol(rawValue: 0x7F)

    /// Whether a step is left out.
    func skips(_ step: MilterStep) -> Bool {
        switch step {
        case .negotiation, .endOfBody: false
        case .connect: contains(.noConnect)
        case .helo: contains(.noHelo)
        case .mail: contains(.noMail)
        case .rcpt: contains(.noRcpt)
        case .data: contains(.noData)
        case .header: contains(.noHeaders)
        case .endOfHeader: contains(.noEndOfHeader)
        case .body: contains(.noBody)
        }
    }

    /// Whether a step gets no answer.
    func isSilent(_ step: MilterStep) -> Bool {
        switch step {
        case .negotiation, .endOfBody: false
        case .connect: contains(.silentConnect)
        case .helo: contains(.silentHelo)
        case .mail: contains(.silentMail)
        case .rcpt: contains(.silentRcpt)
        case .data: contains(.silentData)
        case .header: contains(.silentHeader)
        case .endOfHeader: contains(.silentEndOfHeader)
        case .body: contains(.silentBody)
        }
    }
}

// Hook.swift — the moments at which plugins are asked, the first six by the document's names.

/// A moment in the life of a message.
package enum Hook: String, CaseIterable, Hashable, Sendable {
    /// Between the end of DATA and the commit.
    case queueOutbound = "queue_outbound"
    /// Just before a parcel is attempted.
    case sendEmail = "send_email"
    /// Where to send a parcel.
    case getMX = "get_mx"
    /// Some recipients failed for now.
    case deferred
    /// Some recipients failed for good.
    case bounce
    /// Some recipients were delivered.
    case delivered
    /// A client has connected and waits for the greeting.
    case connect
    /// A client has named a sender.
    case mail
    /// A client has named a recipient.
    case rcpt
}

/// Some hooks: those that a plugin serves.
package struct HookSet: OptionSet, Hashable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let queueOutbound = HookSet(.queueOutbound)
    package static let sendEmail = HookSet(.sendEmail)
    package static let getMX = HookSet(.getMX)
    package static let deferred = HookSet(.deferred)
    package static let bounce = HookSet(.bounce)
    package static let delivered = HookSet(.delivered)
    package static let connect = HookSet(.connect)
    package static let mail = HookSet(.mail)
    package static let rcpt = HookSet(.rcpt)

    /// Hooks before an attempt: parcels wait for their answers.
    package static let preparation: HookSet = [.sendEmail, .getMX]
    /// Hooks after an attempt that failed: the settlement waits for their answers.
    package static let failures: HookSet = [.deferred, .bounce]

    /// The set of one.
    package init(_ hook: Hook) {
        rawValue = 1 << UInt16(Hook.allCases.firstIndex(of: hook) ?? 15)
    }

    /// The set of several.
    package init(_ hooks: some Sequence<Hook>) {
        self.init()
        for hook in hooks { insert(HookSet(hook)) }
    }

    /// Whether a hook is in the set.
    package func has(_ hook: Hook) -> Bool { contains(HookSet(hook)) }
}

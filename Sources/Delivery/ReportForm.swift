// ReportForm.swift — which messages in the queue are reports of our own, and how much they bring back.
//
// It is noted on the envelope, so that it is known after a restart: the end of a report is told in another way than that
// of a message, and never reported.

import Mail

/// How a report of ours came to be.
enum ReportForm: String, Hashable, Sendable {
    /// With the message, as far as that was wanted.
    case whole
    /// Once more with the header alone, because the whole one was refused.
    case header
    /// To the postmaster, about a report that reached nobody.
    case copy
}

extension Envelope {
    /// The name of the note.
    private static let note = "martlet_report"

    /// Nil for all mail that is no report of ours.
    var reportForm: ReportForm? {
        get { sender == .null ? notes.values[Self.note].flatMap(ReportForm.init(rawValue:)) : nil }
        set { notes.values[Self.note] = newValue?.rawValue }
    }
}

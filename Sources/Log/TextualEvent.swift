// TextualEvent.swift — an event that a line of the log is known by: its message is always the same text.

/// One of a few events, each with a text of its own.
package protocol TextualEvent: CaseIterable {
    /// The line's message.
    var text: StaticString { get }
}

extension TextualEvent {
    /// Finds the event of a line by its message.
    init?(_ text: some Sequence<UInt8>) {
        guard
            let event = Self.allCases.first(where: { event in
                let known = UnsafeBufferPointer(start: event.text.utf8Start, count: event.text.utf8CodeUnitCount)
                return known.elementsEqual(text)
            })
        else { return nil }
        self = event
    }
}

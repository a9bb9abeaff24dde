// SinkLogHandler.swift — swift-log on our sink, for libraries and for code off the hot path.

package import Logging

/// A backend of swift-log: its lines go to the same ``LogSink``, in the same form, metadata in the order of its keys.
package struct SinkLogHandler: LogHandler {
    package var metadata: Logger.Metadata = [:]
    /// swift-log asks each logger for its own level; the sink's own filter still applies.
    package var logLevel: Logger.Level
    private let label: String
    private let sink: LogSink

    package init(label: String, sink: LogSink) {
        self.label = label
        self.sink = sink
        logLevel = sink.level.loggerLevel
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var all = metadata
        if let more = event.metadata { all.merge(more) { _, new in new } }
        sink.write(LogLevel(event.level), text: event.message.description) { line in
            line.add(.label, label)
            for (key, value) in all.sorted(by: { $0.key < $1.key }) { line.add(name: key, value.description) }
        }
    }
}

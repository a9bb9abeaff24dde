// LogKey.swift — every key that may stand in a log line, spelled once.

/// The keys of log lines.
///
/// People and scripts hold on to these names: rename none, add what is missing.
///
/// The queue id stands on every line about a message, so that `grep` for it tells the message's story.
package enum LogKey: String, Hashable, Sendable {
    // Mail
    case id, from, to, domain, mx, ip, reply, stage, scope, attempt, session, size, recipients, reason, status, report
    /// Seconds.
    case delay = "delay_s"
    /// Seconds since the mail was accepted, where `delay_s` is how long it waits from now.
    case age = "age_s"
    /// The other message: the one a report is about.
    case about
    /// The first of the messages that one was made into, one for each recipient.
    case partOf = "part_of"
    /// The message that one is the archive's copy of.
    case archiveOf = "archive_of"
    // Sessions
    /// What was put right in a message, kind by kind.
    case mended
    case client, certificate, helo, user, mechanism, verb, text, code, errors, messages, port, host, tls, lane, bind
    // Storage
    case segment, offset, bytes, path, free, file
    // Plugins
    case plugin, hook
    // Filters
    case milter
    // The API
    case actor, subject, before, after, request, api
    // Process
    case config, data, error, line, operation, revision, listen, key, signal, count, version, pid, limit
    /// Milliseconds.
    case elapsed = "elapsed_ms"
    case inProgress = "in_progress"
    case waiting
    case tempFailed = "temp_failed"
}

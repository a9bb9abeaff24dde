// EventSettings.swift — `events.ini`: whether what happens is remembered, how long, and under which names.

import Mail

/// `events.ini`.
package struct EventSettings: Hashable, Sendable {
    /// What history keeps of an address.
    package enum Addresses: String, Hashable, Sendable, CaseIterable {
        case full, hash, domain
    }

    /// `history`: what happens is remembered in the data directory, from the next start on.
    ///
    /// Without it there are no events.
    package var isOn = true
    /// `history_days`: whole days.
    package var days = 14
    /// `history_bytes`: of the database.
    package var bytes = 1 << 30
    /// `journal_bytes`: of segments of the queue that may wait until their events were read.
    package var journalBytes = 1 << 30
    /// `tag_header`: the header field, in small letters, whose value events carry; nil: none.
    package var tagHeader: String? = "x-tag"
    /// `addresses`: what is kept of mail addresses.
    package var addresses = Addresses.full
    /// `event_file`: events go there too, as lines of JSON; a path from the data directory, nil: nowhere.
    package var file: String?
    /// `event_file_bytes`: after which it is full.
    package var fileBytes = 64 << 20
    /// `event_file_count`: of full files that are kept.
    package var fileCount = 8
    /// The sections `[webhook NAME]`.
    package var webhooks = WebhookSettings()

    package init() {}
}

extension EventSettings: KeyedSettings {
    package static let file = "events.ini"

    package static let keys: [SettingKey<EventSettings>] = [
        .boolean("history", \.isOn),
        .count("history_days", \.days, 1...3650),
        .byteSize("history_bytes", \.bytes, 16 << 20...1 << 44),
        .byteSize("journal_bytes", \.journalBytes, 1 << 20...1 << 44),
        SettingKey("tag_header", show: { .text($0.tagHeader ?? "") }) { (text, target) throws(ValueError) in
            guard text.utf8.count <= 76, text.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != 0x3A }) else {
                throw ValueError("\"\(ValueParsing.shown(text))\" is no name of a header field")
            }
            target.tagHeader = text.isEmpty ? nil : text.lowercasedASCII
        },
        SettingKey("addresses", show: { .text($0.addresses.rawValue) }) { (text, target) throws(ValueError) in
            guard let word = Addresses(rawValue: text.lowercasedASCII) else {
                throw ValueError("\"\(ValueParsing.shown(text))\" is none of full, hash, domain")
            }
            target.addresses = word
        },
        SettingKey("event_file", show: { .text($0.file ?? "") }) { (text, target) throws(ValueError) in
            guard text.utf8.count <= 1024, text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
                throw ValueError("\"\(ValueParsing.shown(text))\" is no path of a file")
            }
            target.file = text.isEmpty ? nil : text
        },
        .byteSize("event_file_bytes", \.fileBytes, 1 << 16...1 << 40),
        .count("event_file_count", \.fileCount, 0...1000),
    ]

    package static let quietKeys: [SettingKey<EventSettings>] = []
}

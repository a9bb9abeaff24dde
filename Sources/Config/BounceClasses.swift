// BounceClasses.swift — `bounce_classes.ini`: rules of the user about what replies mean, asked before ours, in the order of the
// file. Every word must be understood: a rule half understood would call mailboxes dead that are not.

package import Mail

/// `bounce_classes.ini`.
package enum BounceClasses {
    /// The file.
    package static let file = "bounce_classes.ini"
    /// Rules that are taken.
    package static let most = 500
    /// Phrases of one rule.
    static let mostPhrases = 50
    /// What a section may say.
    package static let keys = ["class", "code", "status", "text", "phase"]

    private static let phases: [Failure.Stage] = [
        .greeting, .hello, .mail, .recipient, .data, .body, .endOfData,
    ]

    /// Reads the rules.
    ///
    /// - Throws: all errors, each with its line.
    package static func read(_ document: INIDocument) throws(ConfigErrors) -> ReplyClassifier {
        var report = SectionReport(document, file: file, expecting: "[name of a rule]")
        var rules: [ReplyRule] = []
        for block in document.blocks where report.hasRoom {
            guard WebhookSettings.isName(block.name) else {
                report.fail(block.line, "the name of a rule has 1 to 64 letters, digits, dots, hyphens or underscores")
                continue
            }
            guard report.isFirst(block.name, block.line) else { continue }
            let before = report.count
            var draft = Draft()
            for entry in block.entries {
                do throws(ValueError) { try draft.take(entry) } catch {
                    report.fail(entry.line, "\(ValueParsing.shown(entry.key)): \(error.reason)")
                }
            }
            guard report.count == before else { continue }
            guard let rule = draft.rule(block.name) else {
                report.fail(block.line, "[\(block.name)] needs class, and one of code, status, text, phase")
                continue
            }
            rules.append(rule)
            if rules.count > most { report.fail(block.line, "there are more than \(most) rules") }
        }
        try report.finish()
        return rules.isEmpty ? .shipped : ReplyClassifier(user: rules)
    }

    private struct Draft {
        private var replyClass: ReplyClass?
        private var codes: [ReplyRule.Code] = []
        private var statuses: [ReplyRule.Status] = []
        private var phrases: [ReplyPhrase] = []
        private var stages: Set<Failure.Stage> = []
        private var seen: Set<String> = []

        mutating func take(_ entry: INIDocument.Entry) throws(ValueError) {
            guard BounceClasses.keys.contains(entry.key) else {
                throw ValueError("unknown key; a rule has \(BounceClasses.keys.joined(separator: ", "))")
            }
            guard seen.insert(entry.key).inserted else { throw ValueError("stands here already") }
            // Words have blanks between them; a comma ends them.
            let values =
                entry.key.isSame(octets: "text")
                ? entry.value.split(octet: ",").map(\.trimmed).filter { !$0.isEmpty } : ValueParsing.list(entry.value)
            guard !values.isEmpty else { throw ValueError("is empty") }
            guard values.count <= BounceClasses.mostPhrases else {
                throw ValueError("has more than \(BounceClasses.mostPhrases) values")
            }
            for value in values { try take(entry.key, value) }
        }

        private mutating func take(_ key: String, _ value: Substring) throws(ValueError) {
            let shown = ValueParsing.shown(value)
            switch key {
            case "class":
                guard let found = ReplyClass(name: value), replyClass == nil else {
                    let known = ReplyClass.allCases.map(\.name).joined(separator: ", ")
                    throw ValueError("\"\(shown)\" is none of \(known)")
                }
                replyClass = found
            case "code":
                guard let code = ReplyRule.Code(value) else {
                    throw ValueError("\"\(shown)\" is no code such as 550 or 5xx")
                }
                codes.append(code)
            case "status":
                guard let status = ReplyRule.Status(value) else {
                    throw ValueError("\"\(shown)\" is no status such as 5.1.1, x.1.1 or 5.7.x")
                }
                statuses.append(status)
            case "phase":
                guard let stage = BounceClasses.phases.first(where: { "\($0)".isSame(octets: value) }) else {
                    let known = BounceClasses.phases.map { "\($0)" }.joined(separator: ", ")
                    throw ValueError("\"\(shown)\" is none of \(known)")
                }
                stages.insert(stage)
            default:
                guard let phrase = ReplyPhrase(value) else {
                    throw ValueError("\"\(shown)\" is no text of 2 to 200 bytes, with * for anything between")
                }
                phrases.append(phrase)
            }
        }

        func rule(_ name: String) -> ReplyRule? {
            guard let replyClass, !(codes.isEmpty && statuses.isEmpty && phrases.isEmpty && stages.isEmpty) else {
                return nil
            }
            return ReplyRule(
                name,
                replyClass,
                codes: codes,
                statuses: statuses,
                stages: stages,
                phrases: phrases
            )
        }
    }
}

extension SettingsReader {
    /// What replies mean here, for tools that ask nothing else.
    ///
    /// - Throws: what is wrong with `bounce_classes.ini`.
    package func replyClasses() throws(ConfigErrors) -> ReplyClassifier {
        try BounceClasses.read(document(BounceClasses.file) ?? INIDocument(parsing: ""))
    }
}

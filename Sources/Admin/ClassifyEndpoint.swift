// ClassifyEndpoint.swift — `POST /v1/classify`: what a reply of another server means, by the table that deliveries use.

import Config
import JSON
import Mail

/// The answer to "what would you make of this reply?".
enum ClassifyEndpoint {
    private static let phases: [Failure.Stage] = [.greeting, .hello, .mail, .recipient, .data, .body, .endOfData]

    /// `POST /v1/classify`: `{reply, phase}`.
    static func classify(_ request: AdminRequest, _ services: AdminServices) throws(Problem) -> AdminResponse {
        try request.allowQuery([])
        var body = try JSONObject(request.json(), at: "")
        let text = try body.string("reply", atMost: 4096)
        let word = try body.string("phase")
        try body.finish()
        guard let text else { throw Problem.invalid("/reply", "required", "is missing") }
        guard let reply = Reply(line: text), reply.code >= 400 else {
            throw Problem.invalid("/reply", "format", "does not begin with a code from 400 to 599")
        }
        let stage = word.flatMap { word in phases.first { "\($0)".isSame(octets: word) } }
        if word != nil, stage == nil {
            throw Problem.invalid("/phase", "enum", "is none of \(phases.map { "\($0)" }.joined(separator: ", "))")
        }
        let table = services.settings.current.replyClasses
        let found = table.classify(reply, at: stage)
        let failure = Failure(.recipient, at: stage ?? .recipient, reply)
        var answer: JSON = [
            "class": .string(found.replyClass.name),
            "reason": .string(FailureReason(failure, found.replyClass).name),
        ]
        if !found.rule.isEmpty { answer["rule"] = .string(found.rule) }
        return .json(answer)
    }
}

// ClassifyCommand.swift — `martlet classify`: what a reply of another server means, without a relay that runs.

import ArgumentParser
import Config
import Files
import JSON
import Mail
import Operator
import Process

/// Says the class of a reply and the rule that tells it, by our table and the `bounce_classes.ini` of a directory.
struct ClassifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "classify",
        abstract: "Say what a reply of another server means, and by which rule; asks nobody."
    )

    @Argument(help: "The reply, code first, such as \"550 5.1.1 no such user\".")
    var reply: String
    @Option(help: "How far the attempt had come: greeting, hello, mail, recipient, data, body or endOfData.")
    var phase: String?
    @OptionGroup var place: ConfigOption
    @Flag(help: "A JSON object, for programs.")
    var json = false

    func run() throws {
        guard let reply = Reply(line: reply), reply.code >= 400 else {
            throw ValidationError("the reply must begin with a code from 400 to 599")
        }
        let phases: [Failure.Stage] = [.greeting, .hello, .mail, .recipient, .data, .body, .endOfData]
        let stage = phase.flatMap { word in phases.first { "\($0)".isSame(octets: word) } }
        if phase != nil, stage == nil {
            throw ValidationError("the phase is one of \(phases.map { "\($0)" }.joined(separator: ", "))")
        }
        let found = try table().classify(reply, at: stage)
        if json {
            var object: JSON = ["class": .string(found.replyClass.name)]
            if !found.rule.isEmpty { object["rule"] = .string(found.rule) }
            return print(object.text)
        }
        print("\(found.replyClass.name) (\(found.rule.isEmpty ? "no rule fits" : "rule \(found.rule)"))")
    }

    /// Ours alone where there is no directory.
    private func table() throws -> ReplyClassifier {
        let (environment, _) = Environment.ofThisProcess()
        do throws(ConfigErrors) {
            guard let source = try? ConfigDirectory(place.directory(environment), disk: LinuxDisk()) else {
                return .shipped
            }
            return try SettingsReader(source, hostName: "localhost", environment: environment).replyClasses()
        } catch {
            for error in error.errors { Output.complain(error.description) }
            throw ExitCode(1)
        }
    }
}

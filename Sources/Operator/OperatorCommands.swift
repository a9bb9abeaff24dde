// OperatorCommands.swift — the list of the operator's sub-commands.

package import ArgumentParser

/// What the executable offers besides running a relay: thin clients of its API.
package enum OperatorCommands {
    package static let all: [any ParsableCommand.Type] = [
        StatusCommand.self, QueueCommand.self, FlushCommand.self, OutboundCommand.self, RouteCommand.self,
        IPCommand.self, EventsCommand.self, HistoryCommand.self, TraceCommand.self, ExplainCommand.self,
        NodesCommand.self, DrainCommand.self, SuppressionsCommand.self, CredentialsCommand.self, PauseCommand.self,
        ResumeCommand.self, LimitsCommand.self, ReactionsCommand.self, SendTestCommand.self, TLSReportsCommand.self,
        HealthcheckCommand.self, ImportCommand.self, TopCommand.self, QshapeCommand.self,
    ]
}

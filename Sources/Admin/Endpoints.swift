// Endpoints.swift — the table of operations: one line each; it routes requests, and `openapi.yaml` describes the same set.

import Config
import Mail
import Storage

/// Every operation of the API.
package enum Endpoints {
    package static let all: [Endpoint] = others + tables.flatMap { $0 }

    /// Tables of files, which have the same five operations.
    private static let tables = [
        table(RouteEndpoints.self, "/v1/routes/{match}", "Route", .routesRead, .routesWrite, atMost: .max),
        table(OutboundIPEndpoints.self, "/v1/outbound-ips/{match}", "OutboundIP", .routesRead, .routesWrite),
        table(NetworkEndpoints.self, "/v1/networks/{network}", "Network", .accessRead, .accessWrite),
        table(ListenerEndpoints.self, "/v1/listeners/{address}", "Listener", .accessRead, .accessWrite),
        table(UserEndpoints.self, "/v1/users/{name}", "User", .accessRead, .accessWrite),
        table(WebhookEndpoints.self, "/v1/webhooks/{name}", "Webhook", .webhooksRead, .webhooksWrite),
        table(ArchiveEndpoints.self, "/v1/archive/{name}", "Archive", .configRead, .configWrite),
        table(StagingEndpoints.self, "/v1/staging/{whose}", "Staging", .configRead, .configWrite, list: "listStaging"),
        table(LimitEndpoints.self, "/v1/limits/{scope}", "Limit", .configRead, .configWrite),
    ]

    /// The operations of a table: `listRoutes`, `showRoute`, `putRoute`, `editRoute`, `removeRoute`.
    ///
    /// - Parameters:
    ///   - row: the path of a row; that of the table is what stands before the name.
    ///   - name: the rows' in the names of the operations.
    ///   - limit: bytes of a body.
    ///   - list: the name of the operation that lists them; nil: that of a row with an s.
    private static func table<Table: ConfigTable & SendableMetatype>(
        _ table: Table.Type,
        _ row: String,
        _ name: String,
        _ read: AdminSettings.Scope,
        _ write: AdminSettings.Scope,
        atMost limit: Int = Endpoint.usualBody,
        list: String? = nil
    ) -> [Endpoint] {
        let all = String(row[..<(row.firstIndex(ofOctet: "{") ?? row.endIndex)].rest(before: "/") ?? row[...])
        return [
            Endpoint(.get, all, list ?? "list\(name)s", read, Table.list),
            Endpoint(.get, row, "show\(name)", read, Table.show),
            Endpoint(.put, row, "put\(name)", write, body: .json, atMost: limit, Table.put),
            Endpoint(.patch, row, "edit\(name)", write, body: .mergePatch, atMost: limit, Table.patch),
            Endpoint(.delete, row, "remove\(name)", write, Table.remove),
        ]
    }

    private static let others: [Endpoint] = [
        Endpoint(.get, "/livez", "checkLiveness", nil, HealthEndpoints.live),
        Endpoint(.get, "/readyz", "checkReadiness", nil, HealthEndpoints.ready),
        Endpoint(.get, "/openapi.yaml", "showContract", nil, gives: ["application/yaml"], ContractEndpoint.show),
        Endpoint(.get, "/metrics", "showMetrics", .metricsRead, gives: ["text/plain"], MetricsEndpoint.show),
        Endpoint(.get, "/v1/stats", "showStats", .statusRead, StatsEndpoint.show),
        Endpoint(.get, "/v1/stats/waiting", "showWaiting", .statusRead, OverviewEndpoints.waiting),
        Endpoint(.get, "/v1/stats/day", "showDay", .statusRead, OverviewEndpoints.day),

        Endpoint(.get, "/v1/queue", "listQueue", .queueRead, gives: QueueEndpoints.types, QueueEndpoints.list),
        Endpoint(.get, "/v1/queue/{id}", "showMessage", .queueRead, MessageEndpoints.show),
        Endpoint(.delete, "/v1/queue/{id}", "removeMessage", .queueWrite, MessageEndpoints.remove),
        Endpoint(
            .get,
            "/v1/queue/{id}/content",
            "showContent",
            .contentRead,
            gives: ["message/rfc822"],
            MessageEndpoints.content
        ),
        Endpoint(.post, "/v1/queue/{id}/retry", "retryMessage", .queueWrite, body: .json, MessageEndpoints.retry),
        Endpoint(.post, "/v1/queue/{id}/hold", "holdMessage", .queueWrite, body: .json, MessageEndpoints.hold),
        Endpoint(.post, "/v1/queue/{id}/revive", "reviveMessage", .queueWrite, body: .json, MessageEndpoints.revive),
        Endpoint(.post, "/v1/queue/{id}/release", "releaseMessage", .queueWrite, body: .json, MessageEndpoints.release),
        Endpoint(.post, "/v1/queue/flush", "flushQueue", .queueWrite, body: .json, QueueEndpoints.flush),
        Endpoint(.post, "/v1/queue/actions", "actOnQueue", .queueWrite, body: .json, ActionEndpoints.act),
        Endpoint(.get, "/v1/jobs", "listJobs", .queueRead, ActionEndpoints.jobs),
        Endpoint(.get, "/v1/jobs/{id}", "showJob", .queueRead, ActionEndpoints.job),
        Endpoint(.delete, "/v1/jobs/{id}", "cancelJob", .queueWrite, ActionEndpoints.cancel),
        Endpoint(.post, "/v1/jobs/{id}/undo", "undoJob", .queueWrite, ActionEndpoints.undo),

        Endpoint(.post, "/v1/messages", "submitMessage", .submit, body: .message, SubmitEndpoint.submit),
        Endpoint(
            .post,
            "/v1/tests",
            "sendTest",
            .submit,
            body: .json,
            gives: [TestEndpoint.type],
            TestEndpoint.send
        ),
        Endpoint(.get, "/v1/messages/{id}", "traceMessage", .queueRead, EventEndpoints.show),
        Endpoint(.get, "/v1/events", "listEvents", .queueRead, gives: EventEndpoints.types, EventEndpoints.list),
        Endpoint(.get, "/v1/live", "followLive", nil, gives: [LiveStream.type], toCallers: true, LiveStream.follow),
        Endpoint(
            .get,
            "/v1/events/schema",
            "showEventSchema",
            .queueRead,
            gives: ["application/schema+json"],
            EventEndpoints.schema
        ),
        Endpoint(.get, "/v1/history", "searchHistory", .queueRead, EventEndpoints.search),
        Endpoint(.delete, "/v1/history", "eraseHistory", .queueWrite, EventEndpoints.erase),

        Endpoint(.get, "/v1/outbound", "showOutbound", .configRead, OutboundEndpoints.show),
        Endpoint(.patch, "/v1/outbound", "editOutbound", .configWrite, body: .mergePatch, OutboundEndpoints.edit),

        Endpoint(.put, "/v1/routes", "replaceRoutes", .routesWrite, body: .json, atMost: .max, RouteEndpoints.replace),

        Endpoint(
            .get,
            "/v1/suppressions",
            "listSuppressions",
            .queueRead,
            gives: ["application/json", CSV.type],
            SuppressionEndpoints.list
        ),
        Endpoint(
            .post,
            "/v1/suppressions",
            "addSuppressions",
            .queueWrite,
            body: .table,
            atMost: 1 << 20,
            SuppressionEndpoints.add
        ),
        Endpoint(.get, "/v1/suppressions/{target}", "showSuppression", .queueRead, SuppressionEndpoints.show),
        Endpoint(.delete, "/v1/suppressions/{target}", "removeSuppression", .queueWrite, SuppressionEndpoints.remove),

        Endpoint(.post, "/v1/classify", "classifyReply", .routesRead, body: .json, ClassifyEndpoint.classify),

        Endpoint(.get, "/v1/tls-reports", "listTLSReports", .queueRead, TLSReportEndpoints.list),
        Endpoint(.get, "/v1/drain", "showDrain", .statusRead, TravelEndpoints.show),
        Endpoint(.post, "/v1/drain", "drainRelay", .queueWrite, TravelEndpoints.close),
        Endpoint(.delete, "/v1/drain", "reopenRelay", .queueWrite, TravelEndpoints.open),
        Endpoint(.put, "/v1/queue/{id}", "putMessage", .queueWrite, body: .packed, TravelEndpoints.put),
        Endpoint(
            .post,
            "/v1/queue/{id}/departure",
            "beginDeparture",
            .queueWrite,
            body: .json,
            gives: [PackedMessage.mediaType],
            TravelEndpoints.begin
        ),
        Endpoint(.delete, "/v1/queue/{id}/departure", "endDeparture", .queueWrite, TravelEndpoints.end),

        Endpoint(.get, "/v1/nodes", "listNodes", .statusRead, NodeEndpoints.list),
        Endpoint(.post, "/v1/nodes/{name}/drain", "drainNode", .queueWrite, NodeEndpoints.drain),
        Endpoint(.post, "/v1/nodes/{name}/resume", "resumeNode", .queueWrite, NodeEndpoints.resume),

        Endpoint(.get, "/v1/dkim-keys", "listDKIMKeys", .accessRead, DKIMEndpoints.list),
        Endpoint(.get, "/v1/dkim-keys/{domain}/{selector}", "showDKIMKey", .accessRead, DKIMEndpoints.show),
        Endpoint(.put, "/v1/dkim-keys/{domain}/{selector}", "putDKIMKey", .accessWrite, body: .json, DKIMEndpoints.put),
        Endpoint(
            .patch,
            "/v1/dkim-keys/{domain}/{selector}",
            "editDKIMKey",
            .accessWrite,
            body: .mergePatch,
            DKIMEndpoints.patch
        ),
        Endpoint(.delete, "/v1/dkim-keys/{domain}/{selector}", "removeDKIMKey", .accessWrite, DKIMEndpoints.remove),
        Endpoint(.get, "/v1/dkim-rotations/{domain}", "showDKIMRotation", .accessRead, DKIMRotationEndpoints.show),
        Endpoint(
            .post,
            "/v1/dkim-rotations/{domain}",
            "stepDKIMRotation",
            .accessWrite,
            body: .json,
            DKIMRotationEndpoints.step
        ),

        Endpoint(
            .get,
            "/v1/webhooks/{name}/deliveries",
            "listDeliveries",
            .webhooksRead,
            WebhookEndpoints.deliveries
        ),
        Endpoint(
            .post,
            "/v1/webhooks/{name}/enable",
            "enableWebhook",
            .webhooksWrite,
            body: .json,
            WebhookEndpoints.enable
        ),
        Endpoint(
            .post,
            "/v1/webhooks/{name}/replay",
            "replayWebhook",
            .webhooksWrite,
            body: .json,
            WebhookEndpoints.replay
        ),
        Endpoint(
            .post,
            "/v1/webhooks/{name}/rotate",
            "rotateWebhook",
            .webhooksWrite,
            body: .json,
            WebhookEndpoints.rotate
        ),
        Endpoint(
            .post,
            "/v1/webhooks/{name}/test",
            "testWebhook",
            .webhooksWrite,
            body: .json,
            WebhookEndpoints.test
        ),

        Endpoint(.get, "/", "showPage", nil, gives: PageEndpoints.types, PageEndpoints.show),
        Endpoint(
            .get,
            "/page/{version}/{file}",
            "showPageFile",
            nil,
            gives: PageEndpoints.fileTypes,
            PageEndpoints.file
        ),
        Endpoint(.post, "/v1/session", "beginSession", nil, toCallers: true, SessionEndpoints.begin),
        Endpoint(.get, "/v1/session", "showSession", nil, toCallers: true, SessionEndpoints.show),
        Endpoint(.delete, "/v1/session", "endSession", nil, toCallers: true, SessionEndpoints.end),
        Endpoint(.get, "/v1/sessions", "listSessions", .accessRead, SessionEndpoints.list),
        Endpoint(.delete, "/v1/sessions/{id}", "revokeSession", .accessWrite, SessionEndpoints.revoke),

        Endpoint(.get, "/v1/rewriting", "listRewriting", .configRead, RewriteEndpoints.list),
        Endpoint(
            .put,
            "/v1/rewriting/{table}",
            "putRewriting",
            .configWrite,
            body: .json,
            atMost: .max,
            RewriteEndpoints.put
        ),
        Endpoint(.delete, "/v1/rewriting/{table}", "removeRewriting", .configWrite, RewriteEndpoints.remove),
        Endpoint(.post, "/v1/limits/{scope}/reset", "resetLimit", .queueWrite, body: .json, LimitEndpoints.reset),
        Endpoint(
            .post,
            "/v1/limits/replay",
            "replayLimits",
            .queueRead,
            body: .json,
            atMost: ReplayEndpoint.largestBody,
            ReplayEndpoint.replay
        ),
        Endpoint(.get, "/v1/credentials", "listCredentials", .accessRead, CredentialEndpoints.list),
        Endpoint(.get, "/v1/credentials/{name}", "showCredential", .accessRead, CredentialEndpoints.show),
        Endpoint(
            .post,
            "/v1/credentials/{name}/park",
            "parkCredential",
            .accessWrite,
            body: .json,
            CredentialEndpoints.park
        ),
        Endpoint(
            .post,
            "/v1/credentials/{name}/release",
            "releaseCredential",
            .accessWrite,
            CredentialEndpoints.release
        ),
        Endpoint(
            .get,
            "/v1/credentials/{name}/app-passwords",
            "listAppPasswords",
            .accessRead,
            AppPasswordEndpoints.list
        ),
        Endpoint(
            .post,
            "/v1/credentials/{name}/app-passwords",
            "addAppPassword",
            .accessWrite,
            body: .json,
            AppPasswordEndpoints.add
        ),
        Endpoint(
            .delete,
            "/v1/credentials/{name}/app-passwords/{app}",
            "removeAppPassword",
            .accessWrite,
            AppPasswordEndpoints.remove
        ),
        Endpoint(.get, "/v1/pauses", "listPauses", .queueRead, PauseEndpoints.list),
        Endpoint(.post, "/v1/pauses", "pauseScope", .queueWrite, body: .json, PauseEndpoints.pause),
        Endpoint(.get, "/v1/pauses/{scope}", "showPause", .queueRead, PauseEndpoints.show),
        Endpoint(.delete, "/v1/pauses/{scope}", "resumeScope", .queueWrite, PauseEndpoints.resume),
        Endpoint(.get, "/v1/reactions", "listReactions", .queueRead, ReactionEndpoints.list),
        Endpoint(.get, "/v1/reactions/{scope}", "showReaction", .queueRead, ReactionEndpoints.show),
        Endpoint(.delete, "/v1/reactions/{scope}", "resetReaction", .queueWrite, ReactionEndpoints.reset),
        Endpoint(.get, "/v1/source-health", "listSourceHealth", .queueRead, SourceHealthEndpoints.list),
        Endpoint(.get, "/v1/destinations", "listDestinations", .queueRead, DestinationEndpoints.list),
        Endpoint(.get, "/v1/destinations/{lane}", "showDestination", .queueRead, DestinationEndpoints.show),
        Endpoint(
            .post,
            "/v1/destinations/{lane}/reset",
            "resetDestination",
            .queueWrite,
            body: .json,
            DestinationEndpoints.reset
        ),

        Endpoint(.get, "/v1/explain", "explainRoute", .routesRead, ExplainEndpoint.show),
    ]
}

// Endpoints.swift — the table of operations: one line each; it routes requests, and `openapi.yaml` describes the same set.

import Config

/// Every operation of the API.
package enum Endpoints {
    package static let all: [Endpoint] = [
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

        Endpoint(.get, "/v1/routes", "listRoutes", .routesRead, RouteEndpoints.list),
        Endpoint(.put, "/v1/routes", "replaceRoutes", .routesWrite, body: .json, atMost: .max, RouteEndpoints.replace),
        Endpoint(.get, "/v1/routes/{match}", "showRoute", .routesRead, RouteEndpoints.show),
        Endpoint(.put, "/v1/routes/{match}", "putRoute", .routesWrite, body: .json, atMost: .max, RouteEndpoints.put),
        Endpoint(
            .patch,
            "/v1/routes/{match}",
            "editRoute",
            .routesWrite,
            body: .mergePatch,
            atMost: .max,
            RouteEndpoints.patch
        ),
        Endpoint(.delete, "/v1/routes/{match}", "removeRoute", .routesWrite, RouteEndpoints.remove),

        Endpoint(.get, "/v1/suppressions", "listSuppressions", .queueRead, SuppressionEndpoints.list),
        Endpoint(
            .post,
            "/v1/suppressions",
            "addSuppressions",
            .queueWrite,
            body: .json,
            atMost: 1 << 20,
            SuppressionEndpoints.add
        ),
        Endpoint(.get, "/v1/suppressions/{target}", "showSuppression", .queueRead, SuppressionEndpoints.show),
        Endpoint(.delete, "/v1/suppressions/{target}", "removeSuppression", .queueWrite, SuppressionEndpoints.remove),

        Endpoint(.post, "/v1/classify", "classifyReply", .routesRead, body: .json, ClassifyEndpoint.classify),

        Endpoint(.get, "/v1/outbound-ips", "listOutboundIPs", .routesRead, OutboundIPEndpoints.list),
        Endpoint(.get, "/v1/outbound-ips/{match}", "showOutboundIP", .routesRead, OutboundIPEndpoints.show),
        Endpoint(
            .put,
            "/v1/outbound-ips/{match}",
            "putOutboundIP",
            .routesWrite,
            body: .json,
            OutboundIPEndpoints.put
        ),
        Endpoint(
            .patch,
            "/v1/outbound-ips/{match}",
            "editOutboundIP",
            .routesWrite,
            body: .mergePatch,
            OutboundIPEndpoints.patch
        ),
        Endpoint(.delete, "/v1/outbound-ips/{match}", "removeOutboundIP", .routesWrite, OutboundIPEndpoints.remove),

        Endpoint(.get, "/v1/networks", "listNetworks", .accessRead, NetworkEndpoints.list),
        Endpoint(.get, "/v1/networks/{network}", "showNetwork", .accessRead, NetworkEndpoints.show),
        Endpoint(.put, "/v1/networks/{network}", "putNetwork", .accessWrite, body: .json, NetworkEndpoints.put),
        Endpoint(
            .patch,
            "/v1/networks/{network}",
            "editNetwork",
            .accessWrite,
            body: .mergePatch,
            NetworkEndpoints.patch
        ),
        Endpoint(.delete, "/v1/networks/{network}", "removeNetwork", .accessWrite, NetworkEndpoints.remove),

        Endpoint(.get, "/v1/nodes", "listNodes", .statusRead, NodeEndpoints.list),
        Endpoint(.post, "/v1/nodes/{name}/drain", "drainNode", .queueWrite, NodeEndpoints.drain),
        Endpoint(.post, "/v1/nodes/{name}/resume", "resumeNode", .queueWrite, NodeEndpoints.resume),

        Endpoint(.get, "/v1/listeners", "listListeners", .accessRead, ListenerEndpoints.list),
        Endpoint(.get, "/v1/listeners/{address}", "showListener", .accessRead, ListenerEndpoints.show),
        Endpoint(.put, "/v1/listeners/{address}", "putListener", .accessWrite, body: .json, ListenerEndpoints.put),
        Endpoint(
            .patch,
            "/v1/listeners/{address}",
            "editListener",
            .accessWrite,
            body: .mergePatch,
            ListenerEndpoints.patch
        ),
        Endpoint(.delete, "/v1/listeners/{address}", "removeListener", .accessWrite, ListenerEndpoints.remove),

        Endpoint(.get, "/v1/users", "listUsers", .accessRead, UserEndpoints.list),
        Endpoint(.get, "/v1/users/{name}", "showUser", .accessRead, UserEndpoints.show),
        Endpoint(.put, "/v1/users/{name}", "putUser", .accessWrite, body: .json, UserEndpoints.put),
        Endpoint(.patch, "/v1/users/{name}", "editUser", .accessWrite, body: .mergePatch, UserEndpoints.patch),
        Endpoint(.delete, "/v1/users/{name}", "removeUser", .accessWrite, UserEndpoints.remove),

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

        Endpoint(.get, "/v1/webhooks", "listWebhooks", .webhooksRead, WebhookEndpoints.list),
        Endpoint(.get, "/v1/webhooks/{name}", "showWebhook", .webhooksRead, WebhookEndpoints.show),
        Endpoint(.put, "/v1/webhooks/{name}", "putWebhook", .webhooksWrite, body: .json, WebhookEndpoints.put),
        Endpoint(
            .patch,
            "/v1/webhooks/{name}",
            "editWebhook",
            .webhooksWrite,
            body: .mergePatch,
            WebhookEndpoints.patch
        ),
        Endpoint(.delete, "/v1/webhooks/{name}", "removeWebhook", .webhooksWrite, WebhookEndpoints.remove),
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
        Endpoint(.get, "/v1/staging", "listStaging", .configRead, StagingEndpoints.list),
        Endpoint(.get, "/v1/staging/{whose}", "showStaging", .configRead, StagingEndpoints.show),
        Endpoint(.put, "/v1/staging/{whose}", "putStaging", .configWrite, body: .json, StagingEndpoints.put),
        Endpoint(.patch, "/v1/staging/{whose}", "editStaging", .configWrite, body: .mergePatch, StagingEndpoints.patch),
        Endpoint(.delete, "/v1/staging/{whose}", "removeStaging", .configWrite, StagingEndpoints.remove),
        Endpoint(.get, "/v1/archive", "listArchives", .configRead, ArchiveEndpoints.list),
        Endpoint(.get, "/v1/archive/{name}", "showArchive", .configRead, ArchiveEndpoints.show),
        Endpoint(.put, "/v1/archive/{name}", "putArchive", .configWrite, body: .json, ArchiveEndpoints.put),
        Endpoint(.patch, "/v1/archive/{name}", "editArchive", .configWrite, body: .mergePatch, ArchiveEndpoints.patch),
        Endpoint(.delete, "/v1/archive/{name}", "removeArchive", .configWrite, ArchiveEndpoints.remove),
        Endpoint(.get, "/v1/limits", "listLimits", .configRead, LimitEndpoints.list),
        Endpoint(.get, "/v1/limits/{scope}", "showLimit", .configRead, LimitEndpoints.show),
        Endpoint(.put, "/v1/limits/{scope}", "putLimit", .configWrite, body: .json, LimitEndpoints.put),
        Endpoint(.patch, "/v1/limits/{scope}", "editLimit", .configWrite, body: .mergePatch, LimitEndpoints.patch),
        Endpoint(.delete, "/v1/limits/{scope}", "removeLimit", .configWrite, LimitEndpoints.remove),
        Endpoint(.post, "/v1/limits/{scope}/reset", "resetLimit", .queueWrite, body: .json, LimitEndpoints.reset),
        Endpoint(.post, "/v1/limits/replay", "replayLimits", .queueRead, body: .json, ReplayEndpoint.replay),
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

// FileEdits.swift — edits of configuration files as HTTP has them: entity tags, preconditions, and every refusal as a problem.

import Config
import JSON
import Loop
import Mail
import Storage

/// What the endpoints of files have in common.
enum FileEdits {
    /// The entity tag of a file.
    static func tag(_ revision: Revision) -> HeaderField {
        HeaderField("ETag", EntityTags.quoted(revision.digest))
    }

    /// A file as it is on disk.
    static func document(
        _ file: ConfigFile,
        _ services: AdminServices
    ) throws(Problem) -> (document: INIDocument, revision: Revision) {
        do throws(EditError) {
            return try services.settings.document(file)
        } catch {
            throw problem(error)
        }
    }

    /// A file to be shown, with what its answers say: its version, and where it is broken.
    ///
    /// - Returns: no document when the file is broken: what it said before is in force, and is what there is to show.
    static func shown(
        _ file: ConfigFile,
        _ services: AdminServices
    ) throws(Problem) -> (document: INIDocument?, headers: [HeaderField]) {
        let isBroken = services.settings.health.current.broken.contains(ConfigPart(file))
        guard !isBroken, let (document, revision) = try? services.settings.document(file) else {
            return (nil, brokenHeaders(file, services))
        }
        return (document, headers(revision))
    }

    /// What answers say that show something of a file: its version, and where it is broken.
    static func headers(of file: ConfigFile, _ services: AdminServices) -> [HeaderField] {
        let isBroken = services.settings.health.current.broken.contains(ConfigPart(file))
        guard !isBroken, let revision = try? services.settings.version(of: file) else {
            return brokenHeaders(file, services)
        }
        return headers(revision)
    }

    private static let noCache = HeaderField("Cache-Control", "no-cache")

    private static func headers(_ revision: Revision) -> [HeaderField] { [tag(revision), noCache] }

    private static func brokenHeaders(_ file: ConfigFile, _ services: AdminServices) -> [HeaderField] {
        let place = services.settings.health.current.places.first { $0.starts(withOctets: file.name) } ?? file.name
        return headers(services.settings.revision(file)) + [HeaderField("Config-Broken", place)]
    }

    /// Edits a file; when it returns, the change is on disk and in force.
    ///
    /// - Throws: what `change` throws, or why the file cannot be edited.
    static func edit(
        _ file: ConfigFile,
        section: String? = nil,
        _ request: AdminRequest,
        _ services: AdminServices,
        operation: String,
        key: String,
        switching position: DeliverySwitch? = nil,
        preview: (Edit) -> ChangePreview? = { _ in nil },
        _ change: (inout INIDocument) throws(Problem) -> Void
    ) throws(Problem) -> Edit {
        var (expected, isRehearsal) = (try expected(file, request, services), try request.flag(dryRun))
        if let token = request.value(plan) {
            guard !isRehearsal else {
                throw Problem.invalid("?\(plan)", "exclusive", "does what was shown; leave dry_run out")
            }
            // Tried once more, to see that it still is what was shown.
            let trial = try attempt(file, section, request, services, operation, key, expected, isTrial: true, change)
            if let preview = preview(trial) { expected = try services.plans.use(token, trial, preview) }
            isRehearsal = false
        }
        return try attempt(
            file,
            section,
            request,
            services,
            operation,
            key,
            expected,
            switching: position,
            isTrial: isRehearsal,
            change
        )
    }

    /// - Parameters:
    ///   - position: where delivery is switched to; nobody rehearses that, since the switch can be kept elsewhere.
    ///   - isTrial: nothing is written.
    private static func attempt(
        _ file: ConfigFile,
        _ section: String?,
        _ request: AdminRequest,
        _ services: AdminServices,
        _ operation: String,
        _ key: String,
        _ expected: Revision?,
        switching position: DeliverySwitch? = nil,
        isTrial: Bool,
        _ change: (inout INIDocument) throws(Problem) -> Void
    ) throws(Problem) -> Edit {
        do throws(EditFailure<Problem>) {
            return try services.settings.edit(
                file,
                section: section,
                expecting: expected,
                operation: operation,
                key: key,
                by: "api \(request.caller.name)",
                switching: isTrial ? nil : position,
                isRehearsal: isTrial,
                change
            )
        } catch {
            switch error {
            case .refused(let problem): throw problem
            case .failed(let error): throw problem(error)
            }
        }
    }

    /// The parameter that does exactly what a rehearsal showed.
    static let plan = "plan"

    /// The parameter that lets a change be looked at before it is made.
    static let dryRun = "dry_run"

    /// Takes that parameter, and no other one.
    ///
    /// - Parameter plans: a rehearsal shows what becomes of waiting mail, with a plan.
    static func allowDryRun(_ request: AdminRequest, plans: Bool = false) throws(Problem) {
        try request.allowQuery(plans ? [dryRun, plan] : [dryRun])
        _ = try request.flag(dryRun)
    }

    /// Whether a change is only to be looked at.
    static func isDryRun(_ request: AdminRequest) throws(Problem) -> Bool { try request.flag(dryRun) }

    /// What a rehearsal says of waiting mail, with the plan that does exactly that; nothing of a change that is made.
    static func planned(_ edit: Edit, _ preview: ChangePreview?, _ services: AdminServices) -> [JSON.Member] {
        guard edit.isRehearsal, let preview else { return [] }
        let token = services.plans.keep(edit, preview)
        return preview.members(services.cluster?.name) + [JSON.Member("plan", .string(token))]
    }

    /// The answer for an edit that was only tried; nil for one that was made.
    ///
    /// - Parameters:
    ///   - members: what else is known of it.
    ///   - changesMore: something would change beside the file.
    static func rehearsal(
        _ edit: Edit,
        _ members: [JSON.Member] = [],
        changesMore: Bool = false
    ) -> AdminResponse? {
        guard edit.isRehearsal else { return nil }
        return rehearsal(
            isChanged: edit.isChanged || changesMore,
            diff: edit.diff,
            members,
            headers: [tag(edit.revision)]
        )
    }

    /// The answer for a change that was only tried, whatever it is a change of.
    static func rehearsal(
        isChanged: Bool,
        diff: String,
        _ members: [JSON.Member] = [],
        headers: [HeaderField] = []
    ) -> AdminResponse {
        let usual = [
            JSON.Member("dry_run", true), JSON.Member("changed", .bool(isChanged)),
            JSON.Member("diff", .string(diff)),
        ]
        return .json(.object(usual + members), headers: headers)
    }

    /// What the client believes the file to be: one of several versions, when it names them.
    private static func expected(
        _ file: ConfigFile,
        _ request: AdminRequest,
        _ services: AdminServices
    ) throws(Problem) -> Revision? {
        guard let header = request.header("if-match") else {
            guard !services.settings.current.admin.requiresIfMatch else {
                throw Problem(.revisionRequired, "send the ETag of what you change as If-Match")
            }
            return nil
        }
        guard header != "*" else { return nil }
        let current: Revision
        do throws(EditError) { current = try services.settings.version(of: file) } catch { throw problem(error) }
        guard try EntityTags.isNamed(EntityTags.quoted(current.digest), by: header) else {
            throw problem(.stale(current: current))
        }
        return current
    }

    /// A refusal of the settings as an answer.
    static func problem(_ error: EditError) -> Problem {
        switch error {
        case .stale(let current):
            Problem(.stale, "the file was changed meanwhile; get it again", headers: [tag(current)])
        case .invalid(let errors):
            Problem(
                .invalid,
                errors.errors.first?.reason ?? "the configuration would be invalid",
                issues: errors.errors.prefix(20).map { Problem.Issue("", "invalid", "\($0)") }
            )
        case .broken(let errors):
            Problem(
                .conflict,
                "the configuration on disk is invalid already; repair it first: \(errors.errors.first?.description ?? "")"
            )
        case .pinned: Problem(.pinned, "\(error)")
        case .readOnly(_, let diff):
            Problem(
                .readOnly,
                "the configuration cannot be written here; this is the change to make where it can",
                members: [JSON.Member("diff", .string(diff))]
            )
        case .notWritten: Problem(.internalError, "the configuration was not written; the log says why")
        }
    }

    /// A change of a document; what cannot be said in an INI file, such as a line end in a value, is the client's fault.
    ///
    /// - Parameter pointer: to what the client said.
    static func say(_ pointer: String, _ change: () throws(ConfigError) -> Void) throws(Problem) {
        do throws(ConfigError) { try change() } catch { throw Problem.invalid(pointer, "impossible", error.reason) }
    }
}

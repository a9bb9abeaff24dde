// SectionEditTests.swift — an edit of one section of a large table: the same as an edit of the whole, and only that section is read.

import Mail
import TestSupport
import Testing

@testable import Config

@Suite struct SectionEditTests {
    private struct Refused: Error {}

    private static func later() -> Timestamp { Timestamp(milliseconds: 1_000_000) }

    private static func table(_ count: Int = 1_600, end: String = "") -> String {
        let sections = (0..<count).map { "; number \($0)\n[d\($0).example]\nmx = mx\($0 % 7).example\n\n" }.joined()
        return "; a table\n\n" + sections
            + "[reject.example]\nreject = 550 no\n[*.wide.example]\ndirect = true\n[*]\nmx = last.example" + end
    }

    private static func store(_ text: String) throws -> (SettingsStore, MemoryConfig) {
        let config = MemoryConfig(["routes.ini": text])
        return (try SettingsStore(config, hostName: "relay.example.org", now: Timestamp(milliseconds: 1000)), config)
    }

    private static func bytes(_ config: MemoryConfig) throws -> [UInt8] {
        try config.contents(of: "routes.ini", atMost: .max) ?? []
    }

    /// What the API does with a section.
    private enum Change: CaseIterable {
        case host, hosts, direct, reject, property, remove, nothing

        func apply(_ name: String, to document: inout INIDocument) throws(ConfigError) {
            let written = RouteSection.all(in: document)[name]?.name ?? name
            switch self {
            case .host: try document.set("mx", toAll: ["one.example"], in: written)
            case .hosts: try document.set("mx", toAll: ["one.example", "two.example", "three.example"], in: written)
            case .direct:
                document.remove("mx", in: written)
                document.remove("reject", in: written)
                try document.set("direct", to: "true", in: written)
            case .reject:
                document.removeSection(written)
                try document.set("reject", to: "550 5.7.1 no", in: written)
            case .property:
                try document.set("tls", to: "require", in: written)
                try document.set("mx", toAll: ["one.example"], in: written)
                document.remove("direct", in: written)
                document.remove("reject", in: written)
            case .remove: document.removeSection(written)
            case .nothing: break
            }
        }
    }

    /// Random edits, of a section alone and of the whole file side by side.
    @Test(arguments: ["", "\n; the end\n"])
    func isTheSameAsAnEditOfTheWhole(end: String) throws {
        let (alone, aloneFile) = try Self.store(Self.table(end: end))
        let (whole, wholeFile) = try Self.store(Self.table(end: end))
        var random = SeededRandom(seed: 18)
        for _ in 0..<16 {
            let names = [
                "d\(Int.random(in: 0..<4, using: &random)).example", "d1599.example", "reject.example", "*",
                "*.wide.example",
                "new.example", "other.example", "sender a@b.example to c.example", "sender d.example",
            ]
            let name = names[Int.random(in: 0..<names.count, using: &random)]
            let change = Change.allCases[Int.random(in: 0..<Change.allCases.count, using: &random)]
            let before = alone.current
            let first = Result {
                try alone.edit(.routes, section: name, operation: "put", key: name, clock: Self.later) {
                    document throws(ConfigError) in
                    try change.apply(name, to: &document)
                }
            }
            let second = Result {
                try whole.edit(.routes, operation: "put", key: name, clock: Self.later) {
                    document throws(ConfigError) in
                    try change.apply(name, to: &document)
                }
            }
            #expect(try Self.bytes(aloneFile) == Self.bytes(wholeFile), "\(change) \(name)")
            #expect(
                alone.current.routes == whole.current.routes && alone.current.routes.all == whole.current.routes.all
            )
            #expect(alone.current.routes.rejects == whole.current.routes.rejects)
            switch (first, second) {
            case (.success(let first), .success(let second)):
                #expect(
                    first.revision == second.revision && first.isChanged == second.isChanged
                        && first.diff == second.diff
                )
                #expect(first.before.routes.all == before.routes.all && first.after.routes == second.after.routes)
                #expect(
                    RouteChanges(from: first.before.routes, to: first.after.routes).mayMove(
                        .domain(try #require(Domain("new.example")))
                    )
                        == RouteChanges(from: second.before.routes, to: second.after.routes).mayMove(
                            .domain(try #require(Domain("new.example")))
                        )
                )
            case (.failure, .failure): break
            default: Issue.record("\(change) \(name): \(first) \(second)")
            }
            #expect(try alone.version(of: .routes) == Revision(of: Self.bytes(aloneFile)))
        }
        let again = try SettingsStore(aloneFile, hostName: "relay.example.org", now: Timestamp(milliseconds: 1000))
        #expect(again.current.routes == alone.current.routes)
    }

    /// The change is shown a few lines, however long the file is.
    @Test(arguments: ["d999.example", "new.example", "*"])
    func onlyTheSectionIsRead(name: String) throws {
        let (store, config) = try Self.store(Self.table())
        var lines = 0
        try store.edit(.routes, section: name, operation: "put", key: name, clock: Self.later) {
            document throws(ConfigError) in
            lines = document.lines.count
            try document.set("mx", toAll: ["one.example"], in: name)
        }
        #expect(lines < 10)
        #expect(store.current.routes.route(named: name)?.hosts.map(\.exchange) == ["one.example"])
        #expect(try store.document(.routes).document.bytes == Self.bytes(config))
    }

    /// Whatever is out of the ordinary is left to the edit of the whole.
    @Test func otherwiseTheWholeIsRead() throws {
        func lines(
            _ text: String,
            _ name: String,
            prepare: (SettingsStore, MemoryConfig) -> Void = { _, _ in }
        ) throws -> Int {
            let (store, config) = try Self.store(text)
            prepare(store, config)
            var lines = 0
            _ = try? store.edit(.routes, section: name, operation: "put", key: name, clock: Self.later) {
                document throws(ConfigError) in
                lines = max(lines, document.lines.count)
                let written = RouteSection.all(in: document)[name]?.name ?? name
                try document.set("mx", toAll: ["one.example"], in: written)
            }
            #expect(store.current.routes.route(named: name)?.hosts.map(\.exchange) == ["one.example"])
            return lines
        }
        #expect(try lines(Self.table(end: "\n[BIG.example]\nmx = a.example\n"), "big.example") > 1_600)
        // By hand since it was read: what is in force is not what stands there.
        let other = Self.table(end: "\n[hand.example]\nmx = b.example\n")
        #expect(try lines(Self.table(), "d1.example") { $1.write("routes.ini", other, now: 500) } > 1_600)
        #expect(try lines("[d1.example]\nmx = a.example\n", "d1.example") < 4, "a small file is read whole")
    }

    @Test func aRefusalChangesNothing() throws {
        let (store, config) = try Self.store(Self.table())
        #expect(throws: (any Error).self) {
            try store.edit(.routes, section: "d5.example", operation: "put", key: "", clock: Self.later) {
                _ throws(Refused) in throw Refused()
            }
        }
        let stale = Revision(digest: "0")
        #expect(throws: (any Error).self) {
            try store.edit(
                .routes,
                section: "d5.example",
                expecting: stale,
                operation: "put",
                key: "",
                clock: Self.later
            ) { _ throws(Refused) in
                Issue.record("it is not the version that was meant")
            }
        }
        // What is wrong is said with its line in the whole file.
        do throws(EditError) {
            _ = try editing { () throws(EditFailure<ConfigError>) in
                try store.edit(.routes, section: "d5.example", operation: "put", key: "", clock: Self.later) {
                    document throws(ConfigError) in
                    try document.set("mx", toAll: ["no port:x"], in: "d5.example")
                }
            }
        } catch {
            guard case .invalid(let errors) = error else { throw error }
            #expect(errors.errors.first?.line == 25)
        }
        #expect(try Self.bytes(config) == Array(Self.table().utf8))
    }
}

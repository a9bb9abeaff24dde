// EditingTests.swift — edits from within: revisions, human hands, refusals, what is written and what is not.

import Mail
import Synchronization
import TestSupport
import Testing

@testable import Config

@Suite struct EditingTests {
    private static func store(_ files: [String: String]) throws -> (SettingsStore, MemoryConfig) {
        let config = MemoryConfig(files)
        let now = Timestamp(milliseconds: 1000)
        return (try SettingsStore(config, hostName: "relay.example.org", now: now), config)
    }

    private static func text(_ config: MemoryConfig, _ file: String) -> String {
        String(decoding: (try? config.contents(of: file, atMost: .max)) ?? [], as: UTF8.self)
    }

    @discardableResult
    private static func disable(
        _ store: SettingsStore,
        expecting: Revision? = nil,
        _ value: String = "true"
    ) throws(EditError) -> Edit {
        try editing { () throws(EditFailure<ConfigError>) in
            try store.edit(.outbound, expecting: expecting, operation: "set", key: "disabled", clock: Self.later) {
                (document) throws(ConfigError) in
                try document.set("disabled", to: value, in: nil)
            }
        }
    }

    private static func later() -> Timestamp { Timestamp(milliseconds: 1_000_000) }

    @Test func isInForceAndOnDiskWhenItReturns() throws {
        let (store, config) = try Self.store(["outbound.ini": "; hello\n; disabled = false\nconcurrency_max = 7\n"])
        let heard = Mutex<[Bool]>([])
        store.onChange { settings in heard.withLock { $0.append(settings.outbound.isDisabled) } }
        let edit = try Self.disable(store)
        #expect(store.current.outbound.isDisabled && store.current.outbound.concurrencyMax == 7)
        let text = "; hello\n; disabled = false\ndisabled = true\nconcurrency_max = 7\n"
        #expect(Self.text(config, "outbound.ini") == text)
        #expect(heard.withLock { $0 } == [true])
        #expect(edit.isChanged && edit.revision == Revision(of: Array(text.utf8)))
        #expect(edit.diff == "--- outbound.ini\n+++ outbound.ini\n@@ -2,0 +3,1 @@\n+disabled = true\n")
        #expect(!edit.before.outbound.isDisabled && edit.after.outbound.isDisabled)
        #expect(try store.document(.outbound).revision == edit.revision)
    }

    @Test func aMissingFileIsMade() throws {
        let (store, config) = try Self.store([:])
        try Self.disable(store)
        #expect(Self.text(config, "outbound.ini") == "disabled = true\n")
    }

    @Test func theSameAgainWritesNothing() throws {
        let (store, config) = try Self.store(["outbound.ini": "disabled = true\n"])
        config.refusal.withLock { $0 = .failed("must not be called") }
        let edit = try Self.disable(store)
        #expect(!edit.isChanged && edit.replacement == nil)
    }

    /// Between two looks at the files, somebody wrote by hand what the edit asks for.
    @Test func theSameByHandIsInForceWhenTheEditReturns() throws {
        let (store, config) = try Self.store(["outbound.ini": "disabled = false\n"])
        config.write("outbound.ini", Array("disabled = true\n".utf8), now: 1_000_000)
        let edit = try Self.disable(store)
        #expect(!edit.isChanged && edit.after.outbound.isDisabled && store.current.outbound.isDisabled)
    }

    @Test func aStaleRevisionIsRefused() throws {
        let (store, config) = try Self.store(["outbound.ini": ""])
        let revision = try store.document(.outbound).revision
        try Self.disable(store, expecting: revision)
        let current = try store.document(.outbound).revision
        #expect(throws: EditError.stale(current: current)) { try Self.disable(store, expecting: revision, "false") }
        #expect(Self.text(config, "outbound.ini") == "disabled = true\n")
    }

    @Test func aHandEditIsAdoptedFirst() throws {
        let (store, config) = try Self.store(["outbound.ini": "concurrency_max = 5\n", "routes.ini": ""])
        config.write("outbound.ini", "# mine\nconcurrency_max = 9\n", now: 2000)
        config.write("routes.ini", "[*]\nmx = a.example\n", now: 2000)
        try Self.disable(store)
        // The other file is read by its own look.
        #expect(store.current.routes.route(named: "*") == nil)
        #expect(store.reloadIfChanged(now: Self.later()).isChanged)
        #expect(Self.text(config, "outbound.ini") == "# mine\nconcurrency_max = 9\ndisabled = true\n")
        #expect(store.current.outbound.concurrencyMax == 9)
        #expect(store.current.routes.route(named: "*") != nil)
    }

    @Test func aHandThatWritesMeanwhileWins() throws {
        let (store, config) = try Self.store(["outbound.ini": "concurrency_max = 5\n"])
        // Between the reading and the writing of the first try.
        let tries = Mutex(0)
        try store.edit(.outbound, operation: "set", key: "x", clock: Self.later) { (document) throws(ConfigError) in
            if tries.withLock({
                $0 += 1; return $0
            }) == 1 {
                config.write("outbound.ini", "concurrency_max = 6\n", now: 3000)
            }
            try document.set("disabled", to: "yes", in: nil)
        }
        #expect(tries.withLock { $0 } == 2)
        #expect(Self.text(config, "outbound.ini") == "concurrency_max = 6\ndisabled = yes\n")
    }

    @Test func nothingIsWrittenWhenTheResultWouldBeInvalid() throws {
        let (store, config) = try Self.store(["outbound.ini": "disabled = false\n"])
        do throws(EditError) {
            try Self.disable(store, "perhaps")
            Issue.record("accepted")
        } catch {
            guard case .invalid(let errors) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(errors.errors.first?.line == 1 && errors.errors.first?.file == "outbound.ini")
        }
        #expect(Self.text(config, "outbound.ini") == "disabled = false\n")
        #expect(!store.current.outbound.isDisabled)
    }

    @Test func whatWasBrokenBeforeIsSaidToBeSo() throws {
        let (store, config) = try Self.store(["outbound.ini": ""])
        config.write("outbound.ini", "concurrency_max = many\n", now: 2000)
        do throws(EditError) {
            try Self.disable(store)
            Issue.record("accepted")
        } catch {
            guard case .broken(let errors) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(errors.errors.first?.file == "outbound.ini" && errors.errors.first?.line == 1)
        }
        #expect(Self.text(config, "outbound.ini") == "concurrency_max = many\n")
    }

    @Test func aBrokenNeighbourKeepsNoEditBack() throws {
        let (store, config) = try Self.store(["outbound.ini": ""])
        config.write("routes.ini", "[x]\nmx = \n", now: 2000)
        #expect(try Self.disable(store).isChanged)
        #expect(store.current.outbound.isDisabled && Self.text(config, "outbound.ini") == "disabled = true\n")
    }

    @Test func anEditMayRepairABrokenFile() throws {
        let (store, config) = try Self.store(["outbound.ini": ""])
        config.write("outbound.ini", "disabled = perhaps\n", now: 2000)
        try Self.disable(store)
        #expect(Self.text(config, "outbound.ini") == "disabled = true\n")
    }

    @Test func aReadOnlyDirectoryShowsWhatWouldHaveBeenWritten() throws {
        let (store, config) = try Self.store(["outbound.ini": "a_word = 1\nconcurrency_max = 4\n"])
        config.refusal.withLock { $0 = .readOnly("open /etc/martlet/outbound.ini: Read-only file system") }
        do throws(EditError) {
            try Self.disable(store)
            Issue.record("accepted")
        } catch {
            guard case .readOnly(_, let diff) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(
                diff == """
                    --- outbound.ini
                    +++ outbound.ini
                    @@ -2,0 +3,1 @@
                    +disabled = true

                    """
            )
        }
        #expect(!store.current.outbound.isDisabled)
    }

    @Test func ourOwnWriteIsNoReload() throws {
        let (store, _) = try Self.store(["outbound.ini": ""])
        try Self.disable(store)
        #expect(store.reloadIfChanged(now: Timestamp(milliseconds: 5_000_000)) == SettingsStore.Reload())
    }

    @Test func theLogHearsOfTheKeyAlone() throws {
        let (store, _) = try Self.store(["outbound.ini": ""])
        let heard = Mutex<[String]>([])
        store.onEdit { edit in heard.withLock { $0.append("\(edit.file.name) \(edit.operation) \(edit.key)") } }
        try Self.disable(store)
        #expect(heard.withLock { $0 } == ["outbound.ini set disabled"])
    }

    /// Whoever asks may refuse in words of its own, which come back as they are.
    @Test func aRefusalOfTheChangeComesBackAsItIs() throws {
        enum Refusal: Error { case notToday }
        let (store, config) = try Self.store(["outbound.ini": "disabled = false\n"])
        do throws(EditFailure<Refusal>) {
            try store.edit(.outbound, operation: "set", key: "x", clock: Self.later) { (_) throws(Refusal) in
                throw .notToday
            }
            Issue.record("edited")
        } catch {
            #expect(error == .refused(.notToday))
        }
        #expect(Self.text(config, "outbound.ini") == "disabled = false\n")
    }

    @Test func manyEditorsLoseNothing() async throws {
        let (store, config) = try Self.store(["routes.ini": ""])
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<64 {
                group.addTask {
                    _ = try? store.edit(.routes, operation: "put", key: "\(number)", clock: Self.later) {
                        (document) throws(ConfigError) in
                        try document.set("mx", to: "mx\(number).example", in: "d\(number).example")
                    }
                }
            }
        }
        let routes = try Routes.read(INIDocument(parsing: Self.text(config, "routes.ini")))
        #expect((0..<64).allSatisfy { routes.route(named: "d\($0).example") != nil })
        #expect(store.current.routes == routes)
    }

    /// A large table is read once for everybody who looks at a line of it, and anew when it is another one.
    @Test func aLargeFileIsReadAgainOnlyWhenItChanged() throws {
        let lines = (0..<4_000).map { "[d\($0).example]\nmx = mx.example\n" }.joined()
        let (store, config) = try Self.store(["routes.ini": lines])
        let first = try store.document(.routes)
        config.forbid("routes.ini")
        #expect(try store.document(.routes).revision == first.revision, "it is not read")
        config.allow("routes.ini")
        try store.edit(.routes, operation: "put", key: "new", clock: Self.later) { document throws(ConfigError) in
            try document.set("mx", to: "mx2.example", in: "new.example")
        }
        let second = try store.document(.routes)
        #expect(second.document.value("mx", in: "new.example") == "mx2.example")
        #expect(second.revision == Revision(of: Array(Self.text(config, "routes.ini").utf8)))
        // By hand, and by somebody who is still writing.
        config.write("routes.ini", lines + "[other.example]\nmx = mx3.example\n", now: 77)
        #expect(try store.document(.routes).document.value("mx", in: "other.example") == "mx3.example")
        config.write("routes.ini", lines, now: Timestamp.now().milliseconds)
        #expect(try store.document(.routes).revision == first.revision)
        config.forbid("routes.ini")
        #expect(throws: EditError.self) { try store.document(.routes) }
    }
}

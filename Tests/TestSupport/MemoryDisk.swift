// MemoryDisk.swift — a file system in memory that knows what would survive a power cut.
//
// Every file has what the system shows and what the platter holds, sector by sector; every directory has names that were
// made, changed or removed since it was last synced. ``afterPowerCut(_:)`` gives the disk as it may be found afterwards.

package import Files
import Glibc
import Synchronization

/// One system call, before it is made.
package struct DiskCall: Hashable, Sendable {
    package let name: String
    package let path: String
}

/// What a power cut leaves of effects that were not synced.
package enum PowerCut: Hashable, Sendable {
    case keepsEverything
    case keepsNothing
    /// Each sector and each name by chance; some sectors are torn in the middle.
    case keepsSome(seed: UInt64)
}

package final class MemoryDisk: Disk {
    package static let sector = 512
    /// The error of every call after a power cut; unlike others it does not change what is on its way to the platter.
    package static let powerIsGone = ESHUTDOWN

    fileprivate struct Node {
        var content: [UInt8] = []
        var durable: [UInt8] = []
        /// Sectors that differ from `durable` and would be written by a sync.
        var dirty: Set<Int> = []
        var kind = FileKind.file
        var permissions: UInt32 = 0o600
        var lockedBy: Int?
    }

    fileprivate enum Change {
        case set(String, Int)
        case remove(String)
        case rename(String, String, Int)

        var directories: Set<String> {
            switch self {
            case .set(let path, _), .remove(let path): [directory(path)]
            case .rename(let from, let to, _): [directory(from), directory(to)]
            }
        }
    }

    fileprivate struct State {
        var nodes: [Int: Node] = [:]
        var names: [String: Int] = [:]
        var durableNames: [String: Int] = [:]
        var changes: [Change] = []
        var nextNode = 1
        var nextHandle = 1
        var openFiles = 0
        var mostOpenFiles = 0
        var space = DiskSpace(freeBytes: 1 << 40, totalBytes: 1 << 41, freeFiles: 1 << 20)
    }

    fileprivate let state: Mutex<State>
    private let intercept: @Sendable (DiskCall) -> DiskError?

    /// - Parameter intercept: asked before every call that a real disk would see; an error is thrown instead.
    package convenience init(intercept: @escaping @Sendable (DiskCall) -> DiskError? = { _ in nil }) {
        var state = State()
        state.nodes[0] = Node(kind: .directory)
        for root in ["/", "/data"] {
            state.names[root] = 0
            state.durableNames[root] = 0
        }
        self.init(state, intercept)
    }

    private init(_ state: sending State, _ intercept: @escaping @Sendable (DiskCall) -> DiskError?) {
        self.state = Mutex(state)
        self.intercept = intercept
    }

    fileprivate func check(_ name: String, _ path: String) throws(DiskError) {
        if let error = intercept(DiskCall(name: name, path: path)) { throw DiskError(name, path, error.code) }
    }

    /// The name a file has by now.
    fileprivate func name(of node: Int) -> String? {
        state.withLock { state in state.names.first { $0.value == node }?.key }
    }

    package var space: DiskSpace {
        get { state.withLock { $0.space } }
        set { state.withLock { $0.space = newValue } }
    }

    // MARK: Disk

    package func open(_ path: String, _ mode: OpenMode, permissions: UInt32) throws(DiskError) -> any OpenFile {
        try check("open", path)
        return try state.withLock { state throws(DiskError) in
            let node: Int
            if let existing = state.names[path] {
                if mode == .create { throw DiskError("open", path, EEXIST) }
                let kind = state.nodes[existing]?.kind
                if kind == .link { throw DiskError("open", path, ELOOP) }
                if kind == .directory { throw DiskError("open", path, EISDIR) }
                node = existing
            } else {
                guard mode == .create || mode == .updateOrCreate else { throw DiskError("open", path, ENOENT) }
                node = state.make(path, .file, permissions)
            }
            state.nextHandle += 1
            state.openFiles += 1
            state.mostOpenFiles = max(state.mostOpenFiles, state.openFiles)
            return MemoryFile(self, node, path, handle: state.nextHandle)
        }
    }

    package func makeDirectory(_ path: String, permissions: UInt32) throws(DiskError) {
        try check("mkdir", path)
        try state.withLock { state throws(DiskError) in
            if let node = state.names[path] {
                if state.nodes[node]?.kind != .directory { throw DiskError("mkdir", path, ENOTDIR) }
                return
            }
            _ = state.make(path, .directory, permissions)
        }
    }

    package func rename(_ path: String, to newPath: String) throws(DiskError) {
        try check("rename", path)
        try state.withLock { state throws(DiskError) in
            guard let node = state.names.removeValue(forKey: path) else { throw DiskError("rename", path, ENOENT) }
            state.names[newPath] = node
            state.changes.append(.rename(path, newPath, node))
        }
    }

    package func unlink(_ path: String) throws(DiskError) {
        try check("unlink", path)
        try state.withLock { state throws(DiskError) in
            guard state.names.removeValue(forKey: path) != nil else { throw DiskError("unlink", path, ENOENT) }
            state.changes.append(.remove(path))
        }
    }

    package func list(_ directory: String) throws(DiskError) -> [DirectoryEntry] {
        try check("readdir", directory)
        return try state.withLock { state throws(DiskError) in
            guard state.names[directory] != nil else { throw DiskError("opendir", directory, ENOENT) }
            let prefix = directory + "/"
            return state.names.keys.filter { $0.hasPrefix(prefix) && !$0.dropFirst(prefix.count).contains("/") }
                .sorted()
                .map { path in
                    DirectoryEntry(
                        name: String(path.dropFirst(prefix.count)),
                        kind: state.names[path].flatMap { state.nodes[$0]?.kind } ?? .other
                    )
                }
        }
    }

    package func status(_ path: String, following: Bool) throws(DiskError) -> FileStatus? {
        try check("stat", path)
        return state.withLock { state in state.names[path].flatMap { state.status($0) } }
    }

    package func resolve(_ path: String) throws(DiskError) -> String {
        try check("realpath", path)
        return path
    }

    package func syncDirectory(_ path: String) throws(DiskError) {
        try check("fsync", path)
        state.withLock { state in
            var rest: [Change] = []
            for change in state.changes {
                if change.directories.contains(path) { state.makeDurable(change) } else { rest.append(change) }
            }
            state.changes = rest
        }
    }

    package func space(at path: String) throws(DiskError) -> DiskSpace {
        try check("statvfs", path)
        return space
    }
}

extension MemoryDisk.State {
    fileprivate mutating func make(_ path: String, _ kind: FileKind, _ permissions: UInt32) -> Int {
        let node = nextNode
        nextNode += 1
        nodes[node] = MemoryDisk.Node(kind: kind, permissions: permissions)
        names[path] = node
        changes.append(.set(path, node))
        return node
    }

    fileprivate mutating func makeDurable(_ change: MemoryDisk.Change) {
        switch change {
        case .set(let path, let node): durableNames[path] = node
        case .remove(let path): durableNames[path] = nil
        case .rename(let from, let to, let node):
            durableNames[from] = nil
            durableNames[to] = node
        }
    }

    fileprivate func status(_ number: Int) -> FileStatus? {
        guard let node = nodes[number] else { return nil }
        return FileStatus(
            kind: node.kind,
            size: node.content.count,
            permissions: node.permissions,
            owner: 0,
            group: 0,
            inode: UInt64(number),
            modified: 0
        )
    }
}

private func directory(_ path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
}

/// A file opened on a ``MemoryDisk``.
private final class MemoryFile: OpenFile {
    private let disk: MemoryDisk
    private let number: Int
    private let path: String
    private let handle: Int

    init(_ disk: MemoryDisk, _ number: Int, _ path: String, handle: Int) {
        self.disk = disk
        self.number = number
        self.path = path
        self.handle = handle
    }

    deinit {
        let (handle, number) = (handle, number)
        disk.state.withLock { state in
            state.openFiles -= 1
            if state.nodes[number]?.lockedBy == handle { state.nodes[number]?.lockedBy = nil }
        }
    }

    private func change<Result: Sendable>(
        _ name: String,
        _ body: (inout MemoryDisk.Node) -> Result
    ) throws(DiskError) -> Result {
        try disk.check(name, disk.name(of: number) ?? path)
        let number = number
        return disk.state.withLock { state in body(&state.nodes[number, default: MemoryDisk.Node()]) }
    }

    func status() throws(DiskError) -> FileStatus {
        try disk.check("fstat", disk.name(of: number) ?? path)
        guard let status = disk.state.withLock({ $0.status(number) }) else { throw DiskError("fstat", path, EBADF) }
        return status
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(DiskError) -> Int {
        try change("pread") { node in
            let count = max(0, min(buffer.count, node.content.count - offset))
            if count > 0 {
                node.content.withUnsafeBytes {
                    buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[offset..<offset + count]))
                }
            }
            return count
        }
    }

    func write(_ pieces: [UnsafeRawBufferPointer], at offset: Int) throws(DiskError) {
        try change("pwritev") { node in
            var position = offset
            for piece in pieces where !piece.isEmpty {
                node.resize(max(node.content.count, position + piece.count))
                node.content.withUnsafeMutableBytes {
                    UnsafeMutableRawBufferPointer(rebasing: $0[position..<position + piece.count]).copyMemory(
                        from: piece
                    )
                }
                node.dirty.formUnion(position / MemoryDisk.sector...(position + piece.count - 1) / MemoryDisk.sector)
                position += piece.count
            }
        }
    }

    func syncData() throws(DiskError) { try sync("fdatasync") }
    func sync() throws(DiskError) { try sync("fsync") }

    private func sync(_ name: String) throws(DiskError) {
        do throws(DiskError) {
            try change(name) { $0.makeDurable() }
        } catch {
            // As Linux does it: the pages count as clean now, although the disk does not have them.
            if error.code != MemoryDisk.powerIsGone { disk.state.withLock { $0.nodes[number]?.dirty = [] } }
            throw error
        }
    }

    func forgetCache() {
        disk.state.withLock { state in
            state.nodes[number]?.makeDurable()
            if let durable = state.nodes[number]?.durable { state.nodes[number]?.content = durable }
        }
    }

    func allocate(_ size: Int) throws(DiskError) {
        try change("fallocate") { $0.resize(max(size, $0.content.count)) }
    }

    func truncate(to size: Int) throws(DiskError) {
        try change("ftruncate") { $0.resize(size) }
    }

    func takeOwnership(of other: FileStatus) throws(DiskError) {
        try change("fchmod") { $0.permissions = other.permissions }
    }

    func lock() throws(DiskError) -> Bool {
        let handle = handle
        return try change("flock") { node in
            guard node.lockedBy == nil || node.lockedBy == handle else { return false }
            node.lockedBy = handle
            return true
        }
    }
}

extension MemoryDisk.Node {
    fileprivate mutating func resize(_ size: Int) {
        guard size != content.count else { return }
        let old = content.count
        if size < old {
            content.removeSubrange(size...)
        } else {
            content.append(contentsOf: repeatElement(0, count: size - old))
        }
        let sectors = min(old, size) / MemoryDisk.sector..<(max(old, size) + MemoryDisk.sector - 1) / MemoryDisk.sector
        dirty.formUnion(sectors)
    }

    fileprivate mutating func makeDurable() {
        for sector in dirty { keep(sector) }
        dirty = []
    }

    /// Copies one sector, or its first bytes, to the platter.
    fileprivate mutating func keep(_ sector: Int, first bytes: Int = MemoryDisk.sector) {
        let start = sector * MemoryDisk.sector
        guard start < content.count else {
            if durable.count > content.count { durable.removeSubrange(content.count...) }
            return
        }
        let end = min(start + bytes, content.count)
        if durable.count < end { durable.append(contentsOf: repeatElement(0, count: end - durable.count)) }
        durable.replaceSubrange(start..<end, with: content[start..<end])
    }
}

// MARK: - Power cuts and damage

extension MemoryDisk {
    /// The disk as it may be found after the power came back.
    package func afterPowerCut(
        _ cut: PowerCut,
        intercept: @escaping @Sendable (DiskCall) -> DiskError? = { _ in nil }
    ) -> MemoryDisk {
        var copy = state.withLock { $0 }
        var random = SeededRandom(seed: cut.seed)
        for change in copy.changes where cut.keeps(&random) { copy.makeDurable(change) }
        copy.changes = []
        for number in copy.nodes.keys.sorted() {
            guard var node = copy.nodes[number] else { continue }
            for sector in node.dirty.sorted() where cut.keeps(&random) {
                let isTorn = cut.tears && random.next() % 8 == 0
                node.keep(sector, first: isTorn ? Int(random.next() % UInt64(Self.sector)) : Self.sector)
            }
            node.content = node.durable
            node.dirty = []
            node.lockedBy = nil
            copy.nodes[number] = node
        }
        copy.names = copy.durableNames
        return MemoryDisk(copy, intercept)
    }

    /// The disk after the process was killed: nothing is lost, locks are free.
    package func afterKill(intercept: @escaping @Sendable (DiskCall) -> DiskError? = { _ in nil }) -> MemoryDisk {
        var copy = state.withLock { $0 }
        for number in copy.nodes.keys { copy.nodes[number]?.lockedBy = nil }
        (copy.openFiles, copy.mostOpenFiles) = (0, 0)
        return MemoryDisk(copy, intercept)
    }

    /// The most files that were open at one time.
    package var mostOpenFiles: Int { state.withLock { $0.mostOpenFiles } }

    /// All paths.
    package var paths: [String] { state.withLock { $0.names.keys.sorted() } }

    package func bytes(_ path: String) -> [UInt8]? {
        state.withLock { state in state.names[path].flatMap { state.nodes[$0]?.content } }
    }

    /// Changes a file behind everybody's back, on the platter too.
    package func damage(_ path: String, _ body: (inout [UInt8]) -> Void) {
        state.withLock { state in
            guard let number = state.names[path] else { return }
            guard var node = state.nodes[number] else { return }
            body(&node.content)
            node.durable = node.content
            node.dirty = []
            state.nodes[number] = node
        }
    }

    /// Puts something there that the spool did not make.
    package func plant(_ path: String, _ kind: FileKind, _ content: [UInt8] = []) {
        state.withLock { state in
            let number = state.make(path, kind, 0o600)
            state.nodes[number]?.content = content
            state.nodes[number]?.durable = content
            state.durableNames[path] = number
        }
    }

    /// Removes a name behind everybody's back.
    package func remove(_ path: String) {
        state.withLock { state in
            state.names[path] = nil
            state.durableNames[path] = nil
        }
    }
}

extension PowerCut {
    fileprivate var seed: UInt64 { if case .keepsSome(let seed) = self { seed } else { 0 } }
    fileprivate var tears: Bool { if case .keepsSome = self { true } else { false } }

    fileprivate func keeps(_ random: inout SeededRandom) -> Bool {
        switch self {
        case .keepsEverything: true
        case .keepsNothing: false
        case .keepsSome: random.next() & 1 == 0
        }
    }
}

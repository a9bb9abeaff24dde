// PeerMemory+File.swift — what was learnt, as a file of lines: `TRAIT VALUE UNTIL SUBJECT`, and behind a tab what the peer said.
//
// Read as if others had written it: a line that does not fit is dropped, and a file that cannot be read is an empty memory.

package import Files
package import Mail
import Synchronization

extension PeerMemory {
    /// Milliseconds between two writes, so that a flood of lessons is not one of the disk.
    private static let pause: Int64 = 5000
    private static let largestFile = 8 << 20

    /// Reads what an earlier process left.
    ///
    /// Blocks.
    package func load(at now: Timestamp) {
        guard let disk else { return }
        let bytes: [UInt8]
        do throws(DiskError) {
            bytes = try disk.contents(of: path, limit: Self.largestFile)
        } catch {
            // Nobody has learnt anything yet, or it is learnt again.
            return
        }
        state.withLock { state in
            for line in bytes.split(octet: "\n") {
                guard let (trait, subject, entry) = Self.read(line, at: now) else { continue }
                var entries = state.known.removeValue(forKey: trait) ?? [:]
                if entries[subject] == nil, entries.count < Self.most { entries[subject] = entry }
                state.known[trait] = entries
            }
            count.store(state.count, ordering: .relaxed)
        }
    }

    /// Something was learnt that is not on disk, and the last write is long enough ago.
    package func wantsSaving(at now: Timestamp) -> Bool {
        guard disk != nil else { return false }
        return state.withLock { state in
            let age = now.milliseconds(since: state.savedAt)
            return state.isChanged && (age >= Self.pause || age < 0)
        }
    }

    /// Writes what is known, if that has changed.
    ///
    /// Blocks.
    ///
    /// - Throws: why it is not on disk; it is worth another try.
    package func save(at now: Timestamp) throws(DiskError) {
        guard let disk else { return }
        let lines: [String]? = state.withLock { state in
            guard state.isChanged else { return nil }
            state.isChanged = false
            state.savedAt = now
            return state.known.flatMap { trait, entries in
                entries.map { subject, entry in
                    let words = entry.words.isEmpty ? "" : "\t\(entry.words)"
                    return "\(trait.rawValue) \(entry.value) \(entry.until.milliseconds) \(subject)\(words)\n"
                }
            }
        }
        guard let lines else { return }
        do throws(DiskError) {
            try disk.replace(path, with: Array(lines.sorted().joined().utf8), permissions: 0o600)
        } catch {
            state.withLock { $0.isChanged = true }
            throw error
        }
    }

    /// Reads a line that makes sense.
    private static func read(_ line: ArraySlice<UInt8>, at now: Timestamp) -> (Trait, String, Entry)? {
        let parts = line.split(octet: "\t", maxSplits: 1)
        guard let first = parts.first else { return nil }
        let words = first.split(octet: " ", maxSplits: 3).compactMap { String(validating: $0, as: UTF8.self) }
        guard words.count == 4, let trait = Trait(rawValue: words[0]), let value = Int(words[1]), value > 0,
            let end = Int64(words[2]), mayStand(words[3])
        else { return nil }
        let until = Timestamp(milliseconds: end)
        guard Timestamp.storable.contains(until), isInForce(until, trait, at: now) else { return nil }
        let said = parts.count > 1 ? Self.line(String(decoding: parts[1], as: UTF8.self)) : ""
        return (trait, words[3], Entry(value: value, until: until, words: said))
    }
}

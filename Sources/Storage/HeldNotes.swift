// HeldNotes.swift — notes that wait for a disk that works again. A pure value.

import Mail

/// Notes that could not be written yet: one per message, the latest, with the facts of all of them.
struct HeldNotes {
    private var states: [QueueID: (state: DeliveryState, facts: Facts)] = [:]
    private var settled: [QueueID: (location: Location?, facts: Facts)] = [:]
    private var joints: [JointNote] = []
    private var facts: [(id: QueueID, facts: Facts)] = []
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    var isEmpty: Bool { states.isEmpty && settled.isEmpty && joints.isEmpty && facts.isEmpty }

    func hasSettled(_ id: QueueID) -> Bool { settled[id] != nil }

    /// Above the limit a note is dropped: after a restart that message is tried again as if it had not been.
    mutating func add(_ item: SpoolItem) {
        switch item {
        case .attempt(let id, let state, let facts):
            guard settled[id] == nil, states[id] != nil || states.count < limit else { return }
            states[id] = (state, (states[id]?.facts ?? .none).followed(by: facts))
        case .settled(let id, let location, let facts):
            let earlier = states.removeValue(forKey: id)?.facts ?? .none
            guard settled.count < 16 * limit else { return }
            settled[id] = (location, earlier.followed(by: facts))
        case .facts(let id, let facts):
            if self.facts.count < limit { self.facts.append((id, facts)) }
        case .joint(var joint):
            // What was noted before is part of this note.
            joint.facts = (states.removeValue(forKey: joint.id)?.facts ?? .none).followed(by: joint.facts)
            joints.append(joint)
        case .message, .move, .found, .foundAll, .sync:
            break
        }
    }

    /// Facts among them may stand in the segment that was given up, too.
    mutating func takeAll() -> [SpoolItem] {
        let items =
            facts.map { SpoolItem.facts($0.id, $0.facts.again) }
            + takeJoints().map { joint in
                var again = joint
                again.facts = joint.facts.again
                return SpoolItem.joint(again)
            }
            + states.map { SpoolItem.attempt($0.key, $0.value.state, $0.value.facts.again) }
            + settled.map { SpoolItem.settled($0.key, $0.value.location, $0.value.facts.again) }
        states = [:]
        settled = [:]
        facts = []
        return items
    }

    /// Takes those with reports out, for who gives them up.
    mutating func takeJoints() -> [JointNote] {
        defer { joints = [] }
        return joints
    }
}

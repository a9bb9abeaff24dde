// BytePattern.swift — a regular expression over bytes, matched in a time that is linear in the text, whatever it says. Pure.
//
// Guarantee: at most program × text steps, no recursion, no backtracking; so neither a rule nor a peer can make it slow. No
// library is used: those that are everywhere backtrack, or have to be told when to give up.

/// A regular expression without back references; upper and lower case of ASCII are one.
///
/// It knows `.`, `[a-z]`, `[^…]`, `\d \w \s \D \W \S \b`, `( )`, `|`, `* + ?`, `{2,5}`, `^` and `$`. It is looked for anywhere.
package struct BytePattern: Hashable, Sendable {
    /// Octets of a text that are looked at; what follows is not.
    package static let mostOctets = 4096
    /// Steps of a program.
    static let mostSteps = 1000

    enum Step: Hashable, Sendable {
        case octet(OctetSet)
        /// Both ways.
        case fork(Int, Int)
        case jump(Int)
        case start
        case end
        /// `\b`.
        case edge
        case found
    }

    /// As it was written, without its slashes.
    package let text: String
    let program: [Step]

    /// - Throws: ``Mistake``, a sentence for people.
    package init(_ text: String) throws(Mistake) {
        var reader = PatternReader(Array(text.utf8))
        program = try reader.program()
        self.text = text
    }

    /// What is wrong with one.
    package struct Mistake: Error, Hashable, Sendable {
        package let reason: String
    }

    package static func == (a: BytePattern, b: BytePattern) -> Bool { a.text.isSame(octets: b.text) }
    package func hash(into hasher: inout Hasher) { hasher.combine(text) }

    /// Whether it is found in a text.
    package func fits(_ text: some StringProtocol) -> Bool { fits(octets: Array(text.utf8.prefix(Self.mostOctets))) }

    /// The same of octets.
    package func fits(octets: [UInt8]) -> Bool {
        var run = Run(program: program, octets: octets)
        for place in 0...octets.count {
            // It may begin anywhere.
            if run.enter(0, at: place) { return true }
            guard place < octets.count else { break }
            if run.read(octets[place], at: place) { return true }
        }
        return false
    }

    /// Where all beginnings of a match stand together.
    private struct Run {
        let program: [Step]
        let octets: [UInt8]
        /// Steps that read the next octet.
        var threads: [Int] = []
        /// The place at which a step was entered last.
        var seen: [Int]
        /// Steps that are still to be entered.
        var ahead: [Int] = []

        init(program: [Step], octets: [UInt8]) {
            self.program = program
            self.octets = octets
            seen = Array(repeating: -1, count: program.count)
        }

        /// Follows all ways from a step that read nothing; true: the end was reached.
        mutating func enter(_ step: Int, at place: Int) -> Bool {
            ahead.append(step)
            while let step = ahead.popLast() {
                guard seen[step] != place else { continue }
                seen[step] = place
                switch program[step] {
                case .octet: threads.append(step)
                case .fork(let one, let other):
                    ahead.append(other)
                    ahead.append(one)
                case .jump(let next): ahead.append(next)
                case .start: if place == 0 { ahead.append(step + 1) }
                case .end: if place == octets.count { ahead.append(step + 1) }
                case .edge: if isEdge(place) { ahead.append(step + 1) }
                case .found: return true
                }
            }
            return false
        }

        mutating func read(_ octet: UInt8, at place: Int) -> Bool {
            let before = threads
            threads.removeAll(keepingCapacity: true)
            for step in before {
                guard case .octet(let set) = program[step], set.contains(octet) else { continue }
                if enter(step + 1, at: place + 1) { return true }
            }
            return false
        }

        private func isEdge(_ place: Int) -> Bool {
            let before = place > 0 && OctetSet.word.contains(octets[place - 1])
            let behind = place < octets.count && OctetSet.word.contains(octets[place])
            return before != behind
        }
    }
}

/// Some of the 256 octets.
struct OctetSet: Hashable, Sendable {
    private var bits: SIMD4<UInt64> = .zero

    init() {}
    init(_ octets: ClosedRange<UInt8>) { for octet in octets { insert(octet) } }

    func contains(_ octet: UInt8) -> Bool { bits[Int(octet >> 6)] >> UInt64(octet & 63) & 1 == 1 }

    mutating func insert(_ octet: UInt8) { bits[Int(octet >> 6)] |= 1 << UInt64(octet & 63) }

    mutating func add(_ other: OctetSet) { bits |= other.bits }

    var inverted: OctetSet {
        var set = self
        set.bits = ~bits
        return set
    }

    /// With the other case of each letter.
    var folded: OctetSet {
        var set = self
        for octet in UInt8(ascii: "a")...UInt8(ascii: "z") where contains(octet) || contains(octet - 32) {
            set.insert(octet)
            set.insert(octet - 32)
        }
        return set
    }

    static let digit = OctetSet(UInt8(ascii: "0")...UInt8(ascii: "9"))
    static let space = {
        var set = OctetSet(0x09...0x0D)
        set.insert(0x20)
        return set
    }()
    static let word = {
        var set = OctetSet(UInt8(ascii: "a")...UInt8(ascii: "z")).folded
        set.add(digit)
        set.insert(UInt8(ascii: "_"))
        return set
    }()
    static let any = OctetSet().inverted
}

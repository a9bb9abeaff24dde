// PatternReader.swift — the text of a regular expression into the steps that ``BytePattern`` runs. Bounded in depth and length.

struct PatternReader {
    /// Brackets in brackets.
    private static let mostDepth = 20
    /// What stands in braces.
    private static let mostTimes = 100

    private indirect enum Part {
        case set(OctetSet)
        case line([Part])
        case choice([Part])
        case times(Part, least: Int, most: Int?)
        case anchor(BytePattern.Step)
    }

    private let octets: [UInt8]
    private var place = 0
    private var depth = 0
    private var steps: [BytePattern.Step] = []

    init(_ octets: [UInt8]) { self.octets = octets }

    mutating func program() throws(BytePattern.Mistake) -> [BytePattern.Step] {
        let part = try choice()
        if place < octets.count { throw mistake("has a ) without its (") }
        try write(part)
        steps.append(.found)
        return steps
    }

    private func mistake(_ reason: String) -> BytePattern.Mistake {
        BytePattern.Mistake(reason: "/\(String(decoding: octets, as: UTF8.self))/ \(reason)")
    }

    // MARK: reading

    private func peek() -> UInt8? { place < octets.count ? octets[place] : nil }

    private mutating func take(_ octet: Unicode.Scalar) -> Bool {
        guard peek() == UInt8(ascii: octet) else { return false }
        place += 1
        return true
    }

    private mutating func choice() throws(BytePattern.Mistake) -> Part {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.mostDepth else { throw mistake("has too many brackets in brackets") }
        var lines = [try line()]
        while take("|") { lines.append(try line()) }
        return lines.count == 1 ? lines[0] : .choice(lines)
    }

    private mutating func line() throws(BytePattern.Mistake) -> Part {
        var parts: [Part] = []
        while let octet = peek(), octet != UInt8(ascii: "|"), octet != UInt8(ascii: ")") {
            parts.append(try counted(try one()))
        }
        return .line(parts)
    }

    /// What may stand behind a part: `*`, `+`, `?`, `{2,5}`.
    private mutating func counted(_ part: Part) throws(BytePattern.Mistake) -> Part {
        var part = part
        while true {
            let (least, most): (Int, Int?)
            if take("*") {
                (least, most) = (0, nil)
            } else if take("+") {
                (least, most) = (1, nil)
            } else if take("?") {
                (least, most) = (0, 1)
            } else if peek() == UInt8(ascii: "{") {
                (least, most) = try braces()
            } else {
                return part
            }
            if case .anchor = part { throw mistake("repeats a place") }
            part = .times(part, least: least, most: most)
        }
    }

    private mutating func braces() throws(BytePattern.Mistake) -> (Int, Int?) {
        place += 1
        guard let least = number() else { throw mistake("has no number behind {") }
        var most: Int? = least
        if take(",") { most = number() }
        guard take("}"), least <= Self.mostTimes, (most ?? least) <= Self.mostTimes, least <= most ?? least else {
            throw mistake("has braces that are not {2}, {2,} or {2,5} with at most \(Self.mostTimes)")
        }
        return (least, most)
    }

    private mutating func number() -> Int? {
        var number: Int?
        while let octet = peek(), OctetSet.digit.contains(octet) {
            number = min(100_000, (number ?? 0) * 10 + Int(octet - UInt8(ascii: "0")))
            place += 1
        }
        return number
    }

    private mutating func one() throws(BytePattern.Mistake) -> Part {
        let octet = octets[place]
        place += 1
        switch octet {
        case UInt8(ascii: "("):
            // (?: … ) is the same here.
            if place + 1 < octets.count, octets[place] == UInt8(ascii: "?") {
                guard octets[place + 1] == UInt8(ascii: ":") else { throw mistake("has (? and not (?:") }
                place += 2
            }
            let inner = try choice()
            guard take(")") else { throw mistake("has a ( without its )") }
            return inner
        case UInt8(ascii: "["): return .set(try brackets())
        case UInt8(ascii: "."): return .set(.any)
        case UInt8(ascii: "^"): return .anchor(.start)
        case UInt8(ascii: "$"): return .anchor(.end)
        case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"), UInt8(ascii: "{"):
            throw mistake("repeats nothing")
        case UInt8(ascii: "\\"):
            if peek() == UInt8(ascii: "b") {
                place += 1
                return .anchor(.edge)
            }
            return .set(try escaped())
        default: return .set(OctetSet(octet...octet).folded)
        }
    }

    /// What a backslash makes of the octet behind it.
    private mutating func escaped() throws(BytePattern.Mistake) -> OctetSet {
        guard let octet = peek() else { throw mistake("ends with a backslash") }
        place += 1
        switch octet {
        case UInt8(ascii: "d"): return .digit
        case UInt8(ascii: "D"): return OctetSet.digit.inverted
        case UInt8(ascii: "w"): return .word
        case UInt8(ascii: "W"): return OctetSet.word.inverted
        case UInt8(ascii: "s"): return .space
        case UInt8(ascii: "S"): return OctetSet.space.inverted
        case UInt8(ascii: "t"): return OctetSet(0x09...0x09)
        default:
            guard !OctetSet.word.contains(octet) else {
                throw mistake("has \\\(String(UnicodeScalar(octet))), which means nothing here")
            }
            return OctetSet(octet...octet)
        }
    }

    private mutating func brackets() throws(BytePattern.Mistake) -> OctetSet {
        let isInverted = take("^")
        var set = OctetSet()
        var isFirst = true
        while let octet = peek(), octet != UInt8(ascii: "]") || isFirst {
            isFirst = false
            place += 1
            if octet == UInt8(ascii: "\\") {
                set.add(try escaped())
                continue
            }
            let isRange =
                peek() == UInt8(ascii: "-") && place + 1 < octets.count && octets[place + 1] != UInt8(ascii: "]")
            guard isRange else {
                set.insert(octet)
                continue
            }
            let last = octets[place + 1]
            place += 2
            guard octet <= last, last != UInt8(ascii: "\\") else { throw mistake("has a range that is none") }
            set.add(OctetSet(octet...last))
        }
        guard take("]") else { throw mistake("has a [ without its ]") }
        return isInverted ? set.folded.inverted : set.folded
    }

    // MARK: writing

    private mutating func add(_ step: BytePattern.Step) throws(BytePattern.Mistake) {
        guard steps.count < BytePattern.mostSteps else {
            throw mistake("is too long when its repetitions are written out")
        }
        steps.append(step)
    }

    private mutating func write(_ part: Part) throws(BytePattern.Mistake) {
        switch part {
        case .set(let set): try add(.octet(set))
        case .anchor(let step): try add(step)
        case .line(let parts): for part in parts { try write(part) }
        case .choice(let parts): try write(choice: parts)
        case .times(let part, let least, let most):
            for _ in 0..<least { try write(part) }
            guard let most else { return try writeLoop(part) }
            var forks: [Int] = []
            for _ in least..<most {
                forks.append(steps.count)
                try add(.jump(0))
                try write(part)
            }
            for fork in forks { steps[fork] = .fork(fork + 1, steps.count) }
        }
    }

    private mutating func write(choice parts: [Part]) throws(BytePattern.Mistake) {
        var ends: [Int] = []
        for (index, part) in parts.enumerated() {
            guard index < parts.count - 1 else {
                try write(part)
                break
            }
            let fork = steps.count
            try add(.jump(0))
            try write(part)
            ends.append(steps.count)
            try add(.jump(0))
            steps[fork] = .fork(fork + 1, steps.count)
        }
        for end in ends { steps[end] = .jump(steps.count) }
    }

    private mutating func writeLoop(_ part: Part) throws(BytePattern.Mistake) {
        let fork = steps.count
        try add(.jump(0))
        try write(part)
        try add(.jump(fork))
        steps[fork] = .fork(fork + 1, steps.count)
    }
}

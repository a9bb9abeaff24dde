// FuzzTarget+Conversion.swift — messages of eight bits and long lines, as a next hop gets them that takes neither.

import MessageFormat
import NIOCore

extension FuzzTarget {
    /// What is written is of seven bits and short lines, needs no more converting, and does not depend on how the message was
    /// cut.
    ///
    /// The second octet says what is wanted.
    static func conversion(_ bytes: [UInt8]) -> String? {
        let flags = bytes.dropFirst().first ?? 0
        let wish = SevenBitPlan.Wish(
            breaksLines: flags & 1 != 0,
            keepsEightBit: flags & 3 == 3,
            isCopy: flags & 4 != 0,
            ownOctets: flags & 8 != 0 ? Int(flags >> 4) * 16 : 0
        )
        guard let message = try? LineEnds.crlf(Array(bytes.dropFirst(2))) else { return nil }
        let whole = Array(message.readableBytesView)
        let pieces = Cut([bytes.first ?? 0] + whole).pieces.map { ByteBuffer(bytes: $0) }
        let converted = convert([message], wish)
        guard converted == convert(pieces, wish) else { return "cutting makes a difference" }
        guard case .written(let written) = converted else { return nil }
        if !wish.keepsEightBit, written.contains(where: { $0 > 127 }) { return "an octet above 127" }
        let longest = written.split(separator: 0x0A, omittingEmptySubsequences: false).map(\.count).max() ?? 0
        if wish.breaksLines, longest > 999 { return "a line of \(longest) octets" }
        guard written.last == 0x0A else { return "the last line is not whole" }
        var again = wish
        again.ownOctets = 0
        return plan([ByteBuffer(bytes: written)], again).isNeeded ? "what was written needs converting" : nil
    }

    private enum Converted: Equatable {
        case needless
        case impossible(SevenBitPlan.Obstacle)
        case written([UInt8])
    }

    private static func plan(_ pieces: [ByteBuffer], _ wish: SevenBitPlan.Wish) -> SevenBitPlan {
        var plan = SevenBitPlan(wish)
        for piece in pieces { plan.look(at: piece) }
        plan.finish()
        return plan
    }

    private static func convert(_ pieces: [ByteBuffer], _ wish: SevenBitPlan.Wish) -> Converted {
        let plan = plan(pieces, wish)
        guard plan.isNeeded else { return .needless }
        if let obstacle = plan.obstacle { return .impossible(obstacle) }
        var writer = SevenBitWriter(plan)
        var out = ByteBuffer()
        for piece in pieces { writer.write(piece, to: &out) }
        writer.finish(to: &out)
        return .written(Array(out.readableBytesView))
    }
}

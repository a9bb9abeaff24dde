// LinkTrustTests.swift — which links root follows to write behind them.

import Testing

@testable import Files

@Suite struct LinkTrustTests {
    private static func status(_ kind: FileKind, _ owner: UInt32) -> FileStatus {
        FileStatus(kind: kind, size: 0, permissions: 0o777, owner: owner, group: owner, inode: 1, modified: 0)
    }

    @Test(arguments: [
        // (who writes, the link's owner, the owner of what is behind it; nil: nothing, may it)
        (UInt32(0), UInt32(0), UInt32?(0), true), (0, 0, 7, true), (0, 0, nil, true), (0, 7, 7, true),
        (0, 7, 0, false), (0, 7, 8, false), (0, 7, nil, false), (7, 8, 0, true), (7, 7, nil, true),
    ])
    func followsWhatCouldHaveBeenWrittenAnyway(user: UInt32, link: UInt32, behind: UInt32?, may: Bool) {
        let target = behind.map { Self.status(.file, $0) }
        #expect(Self.status(.link, link).mayBeFollowed(to: target, as: user) == may)
        #expect(Self.status(.file, link).mayBeFollowed(to: target, as: user))
    }
}

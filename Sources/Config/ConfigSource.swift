// ConfigSource.swift — where configuration files come from.

/// A directory of configuration files.
///
/// Tests keep one in memory.
package protocol ConfigSource: Sendable {
    /// The bytes of a file; nil when there is none of that name.
    ///
    /// - Throws: when it is there and cannot be read, or holds more than `limit` bytes.
    func contents(of file: String, atMost limit: Int) throws(ConfigError) -> [UInt8]?

    /// Changes whenever the file may have changed; nil when there is none.
    ///
    /// Cheap: asked once a second.
    func stamp(of file: String) -> FileStamp?

    /// Replaces a file durably, or makes it; its owner and permissions stay.
    ///
    /// Blocks.
    ///
    /// - Returns: whether whoever reads the file sees the old content or the new and nothing else, power cuts included.
    /// - Throws: when nothing was changed.
    func replace(_ file: String, with bytes: [UInt8]) throws(WriteError) -> Replacement

    /// Keeps other processes from editing until the result is gone; nil where that cannot be had.
    ///
    /// Blocks for at most a few seconds.
    func lock() -> (any AnyObject & Sendable)?

    /// The path of a file that another library opens by itself; absolute paths stay as they are.
    func path(of file: String) -> String

    /// Why a file is no place for a secret; nil when it is one.
    func exposure(of file: String) -> String?
}

extension ConfigSource {
    package func exposure(of file: String) -> String? { nil }
}

/// What `stat` says about a version of a file.
package struct FileStamp: Hashable, Sendable {
    let inode: UInt64
    /// Bytes.
    let size: Int
    /// Nanoseconds since 1970, of the last change to the content.
    let modified: Int64
    /// Nanoseconds since 1970, of the last change to anything, such as who may read it.
    let changed: Int64

    package init(inode: UInt64, size: Int, modified: Int64, changed: Int64 = 0) {
        self.inode = inode
        self.size = size
        self.modified = modified
        self.changed = changed
    }
}

/// How a file was replaced.
package enum Replacement: Hashable, Sendable {
    case atomic
    /// The file is mounted by itself, so it was written where it is; a copy of the old content lies at this path.
    case inPlace(copy: String)
}

/// Why a file was not replaced.
package enum WriteError: Error, Hashable, Sendable {
    /// The directory or the file may not be written.
    case readOnly(String)
    /// No space, an I/O error.
    case failed(String)
}

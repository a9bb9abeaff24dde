// Past.swift — history as the wiring holds it: opened when the queue is known, followed while the relay runs.

import Chronicle
import Config
import Files
import History
import Log
import Loop
import Mail
import OpenSSL
import Storage

/// What happened, while it is remembered.
final class Past: Sendable {
    private let directory: String
    private var path: String { "\(directory)/history.db" }
    private let spool: any Journal
    private let log: LogSink
    private let settings: EventSettings
    private let node: String
    private let state = InForce<(book: HistoryBook, follower: Follower)?>(nil)

    init(_ launch: Launch, _ spool: any Journal) {
        directory = launch.dataPath
        self.spool = spool
        log = launch.log
        settings = launch.settings.current.events
        node = launch.settings.current.me.name
    }

    /// Nil while there is no history.
    var book: HistoryBook? { state.current?.book }

    /// Opens the database and begins to follow; mail goes on where that does not work.
    ///
    /// Blocks.
    func start() {
        guard settings.isOn else { return }
        var options = HistoryOptions()
        (options.days, options.bytes, options.node) = (settings.days, settings.bytes, node)
        if let space = try? LinuxDisk().space(at: directory) {
            // A small disk is for mail.
            options.bytes = min(options.bytes, max(8 << 20, space.totalBytes / 8))
        }
        do throws(HistoryError) {
            let book = try HistoryBook(path: path, options: options) {
                String(UInt64.random(in: 1 << 40 ... .max), radix: 36)
            }
            let follower = Follower(
                spool,
                book,
                names: PrivateNames(privacy(book.salt)),
                tagHeader: settings.tagHeader
            ) { [log] trouble in
                log.write(.error, "history does not keep up") { $0.add(.reason, trouble) }
            }
            state.replace(with: (book, follower))
            follower.start()
        } catch {
            log.write(.error, "there is no history: events are lost until it can be opened") {
                $0.add(.path, path)
                $0.add(.error, "\(error)")
            }
            // No segment of the queue waits for nobody.
            spool.passed(JournalPosition(segment: .max, offset: 0, seed: 0))
        }
    }

    /// Reads what is left and ends; the spool is still open.
    ///
    /// Blocks.
    func stop() { state.current?.follower.stop() }

    /// Equal addresses stay equal as long as this history lives, and nobody else can make the same of them.
    private func privacy(_ salt: [UInt8]) -> AddressPrivacy? {
        switch settings.addresses {
        case .full: nil
        case .domain: .domain
        case .hash:
            .hash { address in
                let code = KeyedHash.hmac(.sha256, key: salt, message: Array(address.utf8))
                return code.hexadecimal
            }
        }
    }
}

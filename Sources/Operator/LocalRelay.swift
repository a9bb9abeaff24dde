// LocalRelay.swift — the relay of this machine: what the running one says of itself, else what its configuration says.

package import Config
import Files
import Glibc
import HTTPClient
import Mail

/// Where the relay of this machine is.
struct LocalRelay {
    /// The data directory.
    let data: String
    let relay: RunningRelay

    /// - Parameter data: of the command line, before the environment's and the usual one.
    /// - Throws: ``OperatorError`` when a file that a variable names cannot be read.
    init(data: String?) throws {
        let program = try Self.program()
        let data = data ?? program["DATA_DIR"] ?? "/var/lib/martlet"
        self.data = data
        let disk = LinuxDisk()
        relay = RunningRelay.read(in: data, disk) ?? Self.expected(program["CONFIG_DIR"] ?? "/etc/martlet", disk)
    }

    private static func expected(_ config: String, _ disk: any Disk) -> RunningRelay {
        guard let source = try? ConfigDirectory(config, disk: disk) else {
            var relay = RunningRelay(name: HostName.valid(HostName.ofMachine()))
            (relay.smtp, relay.socket) = (ListenerSettings().listen, AdminSettings().socket)
            return relay
        }
        let environment = Environment.ofThisProcess().environment
        return SettingsReader(source, hostName: HostName.ofMachine(), environment: environment).expectedRelay()
    }

    /// What the environment says to tools.
    static func program() throws -> [String: String] {
        do throws(ConfigErrors) {
            return try Environment.programOfThisProcess()
        } catch {
            throw OperatorError("\(error)", status: EX_CONFIG)
        }
    }
}

extension SubmissionPlace {
    /// Where `sendmail` hands mail in.
    package static func ofThisMachine() -> SubmissionPlace {
        let relay = (try? LocalRelay(data: nil))?.relay ?? RunningRelay(name: HostName.valid(HostName.ofMachine()))
        return SubmissionPlace(relay)
    }

    /// Where a relay that runs takes mail by SMTP; nil: nowhere.
    package init?(listening relay: RunningRelay) {
        guard relay.submission != nil else { return nil }
        self.init(relay)
    }

    /// - Parameter relay: one that takes no mail by SMTP gives the usual place, where nobody will answer.
    init(_ relay: RunningRelay) {
        let (address, isTLS) = relay.submission ?? (ListenerSettings().listen[0], false)
        self.init(address: "\(address.ip)", port: address.port, hostName: relay.name.name, isTLS: isTLS)
    }
}

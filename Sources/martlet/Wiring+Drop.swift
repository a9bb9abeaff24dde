// Wiring+Drop.swift — who hears that mail of the drop was refused: `sendmail` said 0 long ago, so its sender gets a report.
//
// Only where the machine itself may relay: otherwise whoever may put a file there would send mail to anybody by being refused.

import Config
import Delivery
import Ingest
import Mail
import NIOCore
import Operator

extension Wiring {
    static func pickup(_ launch: Launch, _ settler: Settler, _ loop: any EventLoop) -> Pickup {
        let settings = launch.settings
        return Pickup(Drop(in: launch.dataPath), log: launch.log) { refusal, place in
            let networks = settings.current.relayNetworks
            guard RelayPolicy.mayRelay(IPAddress(place.address), networks: networks) else { return false }
            let report = loop.makeFutureWithTask {
                await settler.reportUntaken(refusal.recipients, from: refusal.sender, refusal.bytes)
            }
            return (try? report.wait()) ?? false
        }
    }
}

// FaultyDisk.swift — a memory disk on which chosen system calls fail.

import Files
import Synchronization

package final class FaultyDisk: Sendable {
    private struct Fault {
        let name: String
        let part: String
        let code: Int32
        /// Matching calls that still work before it strikes.
        var skip: Int
        /// Matching calls that fail then.
        var times: Int
    }

    private final class Plan: Sendable {
        let faults = Mutex<[Fault]>([])

        func error(_ call: DiskCall) -> DiskError? {
            faults.withLock { faults in
                for index in faults.indices
                where faults[index].name == call.name && call.path.contains(faults[index].part) {
                    if faults[index].skip > 0 {
                        faults[index].skip -= 1
                    } else if faults[index].times > 0 {
                        faults[index].times -= 1
                        return DiskError(call.name, call.path, faults[index].code)
                    }
                }
                return nil
            }
        }
    }

    private let plan = Plan()
    package let disk: MemoryDisk

    package init(on earlier: MemoryDisk? = nil) {
        let plan = plan
        disk = earlier?.afterKill { plan.error($0) } ?? MemoryDisk { plan.error($0) }
    }

    /// Lets `times` calls fail after `skip` that work.
    ///
    /// - Parameter part: a part of the path.
    package func fail(_ name: String, _ part: String, code: Int32, skip: Int = 0, times: Int = 1) {
        plan.faults.withLock {
            $0.append(Fault(name: name, part: part, code: code, skip: skip, times: times))
        }
    }

    /// Everything works again.
    package func heal() { plan.faults.withLock { $0 = [] } }
}

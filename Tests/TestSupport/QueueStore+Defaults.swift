// QueueStore+Defaults.swift — what most stores of tests need not know.

package import Mail
package import Storage

extension QueueStore {
    /// There is no disk.
    package func confirm() -> Bool { true }

    /// Nobody knows.
    package var freeBytes: Int? { nil }

    /// Forgets them.
    package func save(_ holds: [QueueID: Hold]) throws(QueueError) {}

    /// Nothing is held.
    package func savedHolds() -> [QueueID: Hold] { [:] }

    /// Nobody looks at it.
    package func setAside(_ id: QueueID, at location: Location, because text: String) {}
}

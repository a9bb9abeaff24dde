// MX+Order.swift — in which order a session tries hosts: the one rule for files, hooks and the DNS.

extension MX {
    /// By priority, lower first; equal ones in an order of chance, so that each session shares the load anew.
    ///
    /// - Source: RFC 5321 §5.1
    package static func shared(_ hosts: [MX], using generator: inout some RandomNumberGenerator) -> [MX] {
        guard hosts.count > 1 else { return hosts }
        // Swift's sort is stable: what was shuffled stays shuffled within a priority.
        return hosts.shuffled(using: &generator).sorted { $0.priority < $1.priority }
    }
}

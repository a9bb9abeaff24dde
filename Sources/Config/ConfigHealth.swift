// ConfigHealth.swift — how the configuration files are: what is broken in them, and where the switch of delivery stands.

/// For those who tell people: status, probes, metrics.
package struct ConfigHealth: Hashable, Sendable {
    /// What is broken, in the order of parts and lines; what these files said before stays in force.
    package let errors: [ConfigError]
    /// The parts that these errors are of.
    package let broken: [ConfigPart]
    /// Where ``OutboundSettings/isDisabled`` comes from.
    package let switchOrigin: SwitchOrigin
    /// The switch that is kept beside the files.
    let kept: KeptSwitch?

    init(_ watch: SettingsStore.Watch, _ environment: Environment) {
        broken = ConfigPart.allCases.filter { watch.isBroken($0) }
        errors = broken.flatMap { watch.findings[$0]?.errors ?? [] }
        kept = watch.kept
        if let kept {
            switchOrigin = kept.isDurable ? .dataDirectory : .memory
        } else if environment.pin("disabled", in: nil, of: OutboundSettings.file) != nil {
            switchOrigin = .environment
        } else {
            switchOrigin = watch.switchWords.disabled == nil ? .standard : .file
        }
    }

    /// `routes.ini:3`, without the reason: for those who may not see what stands in the files.
    package var places: [String] {
        errors.map { error in error.line.map { "\(error.file):\($0)" } ?? error.file }
    }
}

// SettingsStore+Switch.swift — the switch of delivery where `outbound.ini` cannot be edited.

extension SettingsStore {
    /// Keeps the switch in the data directory, or in memory when that cannot be written either.
    ///
    /// - Parameter failure: why the file was not edited.
    /// - Returns: nil when that is no reason to keep the switch elsewhere.
    /// - Throws: when a variable of the environment decides.
    func keep<Refusal>(
        _ position: DeliverySwitch,
        _ wish: Wish,
        _ watch: inout Watch,
        because failure: EditFailure<Refusal>
    ) throws(EditFailure<Refusal>) -> Edit? {
        guard let switchFile, wish.file == .outbound, case .failed(let error) = failure else { return nil }
        switch error {
        case .readOnly, .notWritten, .broken: break
        case .stale, .invalid, .pinned: return nil
        }
        if let pin = environment.pin("disabled", in: nil, of: wish.file.name) {
            throw .failed(.pinned(key: pin.key, variable: pin.variable))
        }
        if let expecting = wish.expecting, expecting != revision(wish.file) {
            throw .failed(.stale(current: revision(wish.file)))
        }
        let before = current
        var kept = KeptSwitch(position, words: watch.switchWords.digest)
        do throws(ConfigError) { try switchFile.save(kept) } catch { kept.isDurable = false }
        let isChanged = watch.kept != kept
        watch.kept = kept
        publish(&watch)
        return Edit(
            file: wish.file,
            operation: wish.operation,
            key: wish.key,
            actor: wish.actor,
            diff: "",
            revision: revision(wish.file),
            before: before,
            after: current,
            isChanged: isChanged,
            replacement: nil,
            isKeptBecause: error.description,
            isMended: false,
            warnings: []
        )
    }
}

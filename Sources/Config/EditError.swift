// EditError.swift — why an edit changed nothing.

/// An edit that was refused; the files and the settings in force are as they were.
package enum EditError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The file is not the one that the caller knows (412).
    case stale(current: Revision)
    /// The configuration would be invalid with this change (422).
    case invalid(ConfigErrors)
    /// The configuration on disk is invalid already, also without this change (409).
    case broken(ConfigErrors)
    /// The value comes from the environment, so that an edit of the file would change nothing (409).
    case pinned(key: String, variable: String)
    /// The directory may not be written; the change that would have been made, secrets left out (409).
    case readOnly(reason: String, diff: String)
    /// The disk failed (500).
    case notWritten(String)

    package var description: String {
        switch self {
        case .stale(let current): "the file has changed; it is \(current) now"
        case .invalid(let errors), .broken(let errors): errors.description
        case .pinned(let key, let variable):
            "\(key) is set by the environment variable \(variable), which stands above the file; change it there"
        case .readOnly(let reason, _): "the configuration cannot be written: \(reason)"
        case .notWritten(let reason): "the configuration was not written: \(reason)"
        }
    }
}

/// Why ``SettingsStore/edit(_:expecting:operation:key:clock:_:)`` changed nothing: whoever asked refused, or it could not be.
package enum EditFailure<Refusal: Error>: Error {
    /// What the change of the document threw.
    case refused(Refusal)
    case failed(EditError)
}

extension EditFailure: CustomStringConvertible {
    package var description: String {
        switch self {
        case .refused(let refusal): "\(refusal)"
        case .failed(let error): error.description
        }
    }
}

extension EditFailure: Equatable where Refusal: Equatable {}

// Environment.swift — settings that the environment gives: they win over the files and pin their keys.
//
// What a variable says is laid over the text of its file before that is read, so that one parser checks both and every
// file can be overridden without knowing it. The files on disk are never touched.

/// What the variables of the environment say about the configuration, read once at start.
package struct Environment: Hashable, Sendable {
    /// A key whose value comes from the environment.
    package struct Pin: Hashable, Sendable {
        /// The file's name in the configuration directory.
        package let file: String
        /// nil for keys that stand before any section, or in `[main]`.
        package let section: String?
        /// Empty when the variable stands for the whole file, a list of lines.
        package let key: String
        package let value: String
        /// The variable's name.
        package let variable: String
    }

    /// Stands in the place of a file's name in errors.
    package static let name = "environment"

    /// All variables of the process, for whoever refers to one by its name.
    let variables: [String: [UInt8]]
    /// Where paths begin that do not begin with a slash.
    let directory: String
    /// In the order of their variables' names.
    package let pins: [Pin]
    /// What is meant for the program rather than for a file, such as `LOG_FORMAT`; without `MARTLET_`.
    package let program: [String: String]
    /// `MARTLET_ADMIN_TOKEN`, or what its file holds; nil: nobody asked for one.
    package let token: EnvironmentToken?
    /// Files that variables name: when one of them changes, the environment says something else.
    let files: Set<String>
    /// What was understood in another way than it was written; one log line each.
    package let notes: [String]

    /// An environment that says nothing.
    package init() {
        self.init(variables: [:], directory: "", pins: [], program: [:], token: nil, files: [], notes: [])
    }

    init(
        variables: [String: [UInt8]],
        directory: String,
        pins: [Pin],
        program: [String: String],
        token: EnvironmentToken?,
        files: Set<String>,
        notes: [String]
    ) {
        self.variables = variables
        self.directory = directory
        self.pins = pins
        self.program = program
        self.token = token
        self.files = files
        self.notes = notes
    }

    /// The value of a variable that a secret refers to; nil when it is not set, or empty.
    ///
    /// - Throws: ``ValueError`` when it is no text.
    package func secret(_ name: String) throws(ValueError) -> String? {
        guard name.utf8.allSatisfy({ $0 < 0x80 }), let bytes = variables[name] else { return nil }
        let text = try GivenText.value(bytes)
        return GivenText.isBlank(text) ? nil : text
    }

    /// The variable that pins a key, which therefore cannot be edited in the file; nil when the file decides.
    ///
    /// - Parameter section: nil and `main` are the same. A smart host from the environment pins all of `[*]`.
    package func pin(_ key: String, in section: String?, of file: String) -> Pin? {
        let section = section == "main" ? nil : section
        return pins.first { pin in
            guard pin.file == file else { return false }
            return pin.key.isEmpty || pin.section == section && (pin.key == key || file == Routes.file)
        }
    }

    /// The text of a file as the environment would have it; nil when there is none and nothing to add.
    func overlay(_ file: String, _ text: String?) -> String? {
        let here = pins.filter { $0.file == file }
        guard !here.isEmpty else { return text }
        return Overlay(text ?? "", here).text
    }

    /// Says of an error in an overlaid text which variable is to blame.
    func blame(_ error: ConfigError, text: String?) -> ConfigError {
        let here = pins.filter { $0.file == error.file }
        guard let line = error.line, !here.isEmpty else { return error }
        guard let variable = Overlay(text ?? "", here).variables[line] else { return error }
        return ConfigError(file: Self.name, reason: "\(variable): \(error.reason)")
    }
}

/// A file's text with pins laid over it: pinned lines are emptied, so that all others keep their numbers, and what the
/// environment says is put at the end.
private struct Overlay {
    private(set) var text: String
    /// By the number of the line that came from a variable.
    private(set) var variables: [Int: String] = [:]

    init(_ text: String, _ pins: [Environment.Pin]) {
        if pins.contains(where: \.key.isEmpty) {
            self.text = ""
            for (index, pin) in pins.enumerated() {
                self.text += pin.value + "\n"
                variables[index + 1] = pin.variable
            }
            return
        }
        self.text = Self.emptied(INIDocument(parsing: text), pins)
        if !self.text.isEmpty, self.text.utf8.last != UInt8(ascii: "\n") { self.text += "\n" }
        var line = self.text.utf8.count { $0 == UInt8(ascii: "\n") }
        var section: String?
        for pin in pins.sorted(by: { ($0.section ?? "main") < ($1.section ?? "main") }) {
            let name = pin.section ?? "main"
            if section != name {
                self.text += "[\(name)]\n"
                line += 1
                variables[line] = pin.variable
                section = name
            }
            self.text += "\(pin.key) = \(pin.value)\n"
            line += 1
            variables[line] = pin.variable
        }
    }

    private static func emptied(_ document: INIDocument, _ pins: [Environment.Pin]) -> String {
        var gone: Set<Int> = []
        for pin in pins {
            if pin.file == Routes.file {
                // A section of routes.ini is one thing: half of it from here and half from there would be a third.
                let headers = document.headers.filter { $0.name == pin.section }.map { $0.line - 1 }
                gone.formUnion(headers + document.lineIndices(of: pin.section))
            } else {
                gone.formUnion(document.entryLines(pin.key, in: pin.section))
            }
        }
        var bytes: [UInt8] = []
        for (index, line) in document.lines.enumerated() {
            if !gone.contains(index) { bytes += document.bytes[line.range] }
            bytes += document.bytes[line.range.upperBound..<line.end]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

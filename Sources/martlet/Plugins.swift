// Plugins.swift — the plugins that are compiled in. To add one: write a type that is a `Plugin`, and name it here.
//
// Each is off until `hooks.ini` names it (`plugins = …`), which also says in which order they are asked.

import Hooks

enum Plugins {
    /// Every compiled-in plugin.
    static let compiledIn: [any Plugin] = [GreylistPatience()]

    static var names: [String] { compiledIn.map(\.name) }

    /// The plugins of these names, in this order; names that are not compiled in are left out.
    static func named(_ names: [String]) -> [any Plugin] {
        names.compactMap { name in compiledIn.first { $0.name == name } }
    }
}

// swift-tools-version: 6.2
// Rooms and floors: a room may depend on rooms of lower floors only (`.ci/floors.sh` holds the same lists).
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    // Rooms are small, so what is hot crosses their walls (Tests/Bench/README.md has what it is worth). The checks for
    // overlapping access stay on: without them nothing measurable was gained.
    .unsafeFlags(["-cross-module-optimization"], .when(configuration: .release)),
]

func room(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .testTarget(
        name: "\(name)Tests",
        dependencies: [.byName(name: name), "TestSupport"] + dependencies,
        swiftSettings: settings
    )
}

let core: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let posix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let embedded: Target.Dependency = .product(name: "NIOEmbedded", package: "swift-nio")
let deque: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")
let heap: Target.Dependency = .product(name: "HeapModule", package: "swift-collections")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let metrics: Target.Dependency = .product(name: "Metrics", package: "swift-metrics")
let metricsCore: Target.Dependency = .product(name: "CoreMetrics", package: "swift-metrics")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")

let package = Package(
    name: "martlet",
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio.git", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-collections.git", exact: "1.6.0"),
        .package(url: "https://github.com/apple/swift-metrics.git", exact: "2.13.0"),
        .package(url: "https://github.com/apple/swift-argument-parser.git", exact: "1.8.2"),
        .package(url: "https://github.com/jpsim/Yams.git", exact: "6.2.2"),
    ],
    targets: [
        // ground
        // Its .pc file asks for libevent, which nothing here needs; the module map names the library.
        .systemLibrary(name: "CUnbound"),
        .systemLibrary(name: "CTimex"),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CMicrohttpd", pkgConfig: "libmicrohttpd", providers: [.apt(["libmicrohttpd-dev"])]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CCrypt", pkgConfig: "libcrypt", providers: [.apt(["libcrypt-dev"])]),
        .systemLibrary(name: "CIDN2", pkgConfig: "libidn2", providers: [.apt(["libidn2-dev"])]),
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(name: "CPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        // It has no .pc file in Debian 12; the module map names the library.
        .systemLibrary(name: "CLDAP", providers: [.apt(["libldap-dev"])]),
        .systemLibrary(name: "CIntrinsics"),
        .systemLibrary(name: "CContract"),
        .systemLibrary(name: "CPage"),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CProcess"),
        // floor 1
        room("Mail", ["CIDN2", core]),
        room("JSON"),
        room("Files", ["CIntrinsics"]),
        room("Log"),
        room("Loop", [core]),
        room("OpenSSL", ["COpenSSL", core]),
        room("HTTPClient", ["CCurl"]),
        room("Passwords", ["CCrypt"]),
        room("Process", ["CProcess"]),
        room("Compression", ["CZlib"]),
        room("Database", ["CSQLite", "CPQ"]),
        // floor 2
        room("SMTP", ["Mail", core]),
        room("MessageFormat", ["Mail", "OpenSSL", core]),
        room("Config", ["Mail", "JSON", "Files", "Log", "Loop", "Process", "OpenSSL", "HTTPClient", "Passwords"]),
        room("DNS", ["Mail", "Log", "CUnbound", metrics]),
        room("Hooks", ["Mail", "Log", metrics]),
        room("Storage", ["Mail", "JSON", "Files", "Database", core, metrics]),
        room("History", ["Mail", "JSON", "Files", "Database"]),
        room("ACME", ["Mail", "JSON", "OpenSSL", "HTTPClient"]),
        room("Page", ["OpenSSL", "Compression", "CPage"]),
        room("Milter", ["Mail", core]),
        // floor 3
        room("Filters", ["Mail", "Log", "Loop", "Milter", "Config", core, posix, metrics]),
        room("Queue", ["Mail", "Files", "Storage", "History", core, posix, deque, heap, metrics]),
        room("Chronicle", ["Mail", "JSON", "Files", "Log", "MessageFormat", "Storage", "History", metrics, posix]),
        room("Suppression", ["Mail", "Log", "OpenSSL", "Database", "History", posix]),
        room("Logins", ["CLDAP", "Mail", "JSON", "Log", "OpenSSL", "HTTPClient", "Config"]),
        // floor 4
        room(
            "Departure",
            [
                "Mail",
                "JSON",
                "Files",
                "Log",
                "Loop",
                "OpenSSL",
                "HTTPClient",
                "SMTP",
                "Config",
                "DNS",
                "Hooks",
                "Queue",
                posix,
                metrics,
                metricsCore,
            ]
        ),
        room(
            "Intake",
            [
                "Mail",
                "Files",
                "Log",
                "Loop",
                "OpenSSL",
                "SMTP",
                "MessageFormat",
                "Storage",
                "History",
                "Queue",
                "Suppression",
                "Config",
                "Hooks",
                "Milter",
                "Filters",
                core,
                posix,
                metrics,
                metricsCore,
            ]
        ),
        // floor 5
        room(
            "Ingest",
            [
                "Mail",
                "History",
                "Log",
                "Logins",
                "Loop",
                "Process",
                "OpenSSL",
                "Passwords",
                "SMTP",
                "MessageFormat",
                "Storage",
                "Queue",
                "Config",
                "Hooks",
                "Intake",
                "Milter",
                core,
                posix,
                metrics,
                metricsCore,
            ]
        ),
        room(
            "Delivery",
            [
                "Mail",
                "JSON",
                "HTTPClient",
                "Log",
                "Loop",
                "OpenSSL",
                "SMTP",
                "MessageFormat",
                "Storage",
                "History",
                "Suppression",
                "Queue",
                "Config",
                "DNS",
                "Hooks",
                "Intake",
                "Departure",
                core,
                posix,
                metrics,
            ]
        ),
        room(
            "Webhooks",
            [
                "Mail", "JSON", "Log", "Loop", "OpenSSL", "HTTPClient", "Config", "DNS", "History", "Departure", core,
                posix,
                metrics, metricsCore,
            ]
        ),
        room(
            "TLSReports",
            [
                "Mail", "JSON", "Files", "Log", "Loop", "HTTPClient", "Compression", "MessageFormat", "Config", "DNS",
                "Queue",
                "Intake", "Departure", core, metrics,
            ]
        ),
        room("RemoteHooks", ["Mail", "JSON", "Log", "HTTPClient", "Hooks", "Config", "MessageFormat", core]),
        room(
            "Admin",
            [
                "Mail",
                "JSON",
                "Files",
                "Log",
                "Loop",
                "OpenSSL",
                "SMTP",
                "MessageFormat",
                "Storage",
                "History",
                "Suppression",
                "Queue",
                "Config",
                "Hooks",
                "Departure",
                "Intake",
                "Page",
                "CContract",
                "CMicrohttpd",
                core,
                metrics,
                metricsCore,
            ]
        ),
        room(
            "Doctor",
            [
                "ACME",
                "Mail",
                "Files",
                "OpenSSL",
                "Config",
                "DNS",
                "Departure",
                "Milter",
                "Storage",
                "CTimex",
                core,
            ]
        ),
        room(
            "Operator",
            [
                "Mail", "JSON", "Files", "Process", "OpenSSL", "HTTPClient", "MessageFormat", "Config", "Suppression",
                core, arguments,
            ]
        ),
        // floor 6
        .executableTarget(
            name: "martlet",
            dependencies: [
                "ACME",
                "Mail",
                "JSON",
                "Files",
                "Log",
                "Logins",
                "Loop",
                "Process",
                "OpenSSL",
                "HTTPClient",
                "Passwords",
                "Storage",
                "History",
                "Suppression",
                "Chronicle",
                "Queue",
                "Config",
                "DNS",
                "Hooks",
                "MessageFormat",
                "Departure",
                "Filters",
                "Intake",
                "Ingest",
                "Delivery",
                "RemoteHooks",
                "Webhooks",
                "Admin",
                "Operator",
                "Doctor",
                "TLSReports",
                core,
                posix,
                arguments,
                metrics,
            ],
            swiftSettings: settings,
            // Swift's libraries inside: the executable runs where there is no toolchain, and calls of the runtime cost less.
            // The two names are what FoundationEssentials needs and its module does not say: no room imports it, but
            // ArgumentParser does.
            linkerSettings: [
                .unsafeFlags(
                    [
                        "-static-stdlib", "-l_FoundationCollections", "-l_FoundationCShims",
                        // Nobody looks its symbols up by name, so that what nothing refers to is left out (2 MB).
                        "-Xlinker", "--no-export-dynamic",
                    ],
                    .when(configuration: .release)
                )
            ]
        ),
        // tests
        .target(
            name: "TestSupport",
            dependencies: ["Mail", "Config", "Files", "Log", "SMTP", "Storage", "DNS", core, posix],
            path: "Tests/TestSupport",
            swiftSettings: settings
        ),
        .target(
            name: "FuzzTargets",
            dependencies: ["Mail", "JSON", "SMTP", "MessageFormat", "Config", "DNS", core],
            path: "Tests/Fuzz/Targets",
            swiftSettings: settings
        ),
        .testTarget(name: "FuzzTests", dependencies: ["FuzzTargets", "Files", "TestSupport"], swiftSettings: settings),
        tests("Mail"),
        tests("JSON"),
        tests("Files"),
        tests("Log"),
        tests("Loop", [embedded]),
        tests("OpenSSL", [core, embedded]),
        tests("HTTPClient"),
        tests("Passwords"),
        tests("Process"),
        tests("Database"),
        tests("History", ["Mail", "JSON"]),
        tests("SMTP", ["OpenSSL", core]),
        tests("MessageFormat", ["OpenSSL", core]),
        tests("ACME", ["Mail", "JSON", "OpenSSL", "HTTPClient"]),
        tests("Page"),
        tests("TLSReports", ["Mail", "JSON", "Files", "Log", "Loop", "HTTPClient", "Config", "DNS", "Departure"]),
        tests("Milter", ["Mail", core]),
        tests("Storage", ["Mail", "JSON", "Files", core]),
        tests("Chronicle", ["Mail", "JSON", "Files", "Log", "Storage", "History", core, posix]),
        tests("Suppression", ["Files", "Mail", "History"]),
        tests("Queue", ["Mail", "Files", "Storage", core, posix]),
        tests("Config", ["Files", "Loop"]),
        tests("DNS"),
        tests("Hooks"),
        tests("Logins", ["Mail", "JSON", "Config", "Log", "OpenSSL", "HTTPClient"]),
        tests(
            "Webhooks",
            [
                "Mail", "JSON", "Log", "Loop", "OpenSSL", "HTTPClient", "Config", "DNS", "History", "Departure", core,
                posix,
            ]
        ),
        tests("RemoteHooks", ["Mail", "Hooks", "HTTPClient", core]),
        tests(
            "Admin",
            ["Mail", "JSON", "Page", "Files", "History", "Log", "OpenSSL", "Queue", "Config", yams, core, posix]
        ),
        tests("Operator", ["Mail", "Files", "JSON", "MessageFormat", "Config", core]),
        tests("martlet", ["Mail", "History", "Files", "Log", "Config", arguments]),
        tests(
            "Intake",
            [
                "Mail",
                "Files",
                "History",
                "OpenSSL",
                "SMTP",
                "MessageFormat",
                "Storage",
                "Queue",
                "Config",
                "Log",
                "Loop",
                "Hooks",
                core,
                posix,
                embedded,
            ]
        ),
        tests(
            "Ingest",
            [
                "SMTP",
                "Storage",
                "Queue",
                "Config",
                "Log",
                "MessageFormat",
                "Loop",
                "Hooks",
                "Intake",
                core,
                posix,
                embedded,
            ]
        ),
        tests(
            "Departure",
            ["Mail", "HTTPClient", "OpenSSL", "Config", "DNS", "Hooks", "Log", "Loop", "Storage", "Queue", posix]
        ),
        tests("Doctor", ["Mail", "Config", "DNS", "Departure", "OpenSSL"]),
        tests(
            "Delivery",
            [
                "OpenSSL",
                "SMTP",
                "Storage",
                "Queue",
                "Config",
                "DNS",
                "Hooks",
                "Departure",
                "Intake",
                "Log",
                "Loop",
                core,
                posix,
                embedded,
            ]
        ),
    ]
)

// libFuzzer brings its own main and instruments every room, so its driver is built apart (`Tests/Fuzz/run.sh`).
if Context.environment["FUZZ_DRIVER"] != nil {
    package.targets.append(
        .executableTarget(
            name: "FuzzDriver",
            dependencies: ["FuzzTargets"],
            path: "Tests/Fuzz/Driver",
            swiftSettings: settings + [.unsafeFlags(["-parse-as-library"])]
        )
    )
}

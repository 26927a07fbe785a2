// swift-tools-version: 6.2
import PackageDescription

// One target a module. Arrows run downwards only: `swift build --explicit-target-dependency-import-check error`
// refuses an import that is not declared here.
let package = Package(
    name: "pantler",
    products: [
        .executable(name: "pantler", targets: ["pantler"]),
        // For tests alone, which preload it into the service: a library of its own, since whoever linked it would have that disk too.
        .library(name: "FailingDisk", type: .dynamic, targets: ["FailingDisk"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: ["YAML"]),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    ],
    targets: [
        .executableTarget(
            name: "pantler",
            dependencies: [
                "PantlerHTTP", "PantlerStore", "PantlerMemory", "PantlerDisk", "PantlerInsight", "PantlerJSON",
                "PantlerCodec", "PantlerModel", "PantlerSockets", "CPantler", "CZlib",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "Yams", package: "Yams"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ]
        ),
        .target(
            name: "PantlerHTTP",
            dependencies: [
                "PantlerStore", "PantlerInsight", "PantlerJSON", "PantlerModel", "PantlerSockets",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOTLS", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
        .target(
            name: "PantlerSockets",
            dependencies: [
                "CPantler",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "HeapModule", package: "swift-collections"),
            ]
        ),
        .target(
            name: "PantlerStore",
            dependencies: [
                "PantlerMemory", "PantlerInsight", "PantlerJSON", "PantlerModel",
                .product(name: "Crypto", package: "swift-crypto"),
            ]
        ),
        .target(name: "PantlerMemory", dependencies: ["PantlerModel", "CPantler"]),
        .target(
            name: "PantlerDisk",
            dependencies: [
                "PantlerCodec", "PantlerInsight", "PantlerModel", "CPantler", "CSQLite",
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
        .target(name: "PantlerInsight", dependencies: ["PantlerModel"]),
        .target(name: "PantlerJSON"),
        .target(name: "PantlerCodec", dependencies: ["CZlib"]),
        .target(name: "PantlerModel", dependencies: ["CPantler"]),
        .target(
            name: "CPantler",
            // What was built, for the metrics; scripts/run has it.
            cSettings: Context.environment["PANTLER_COMMIT"].map { [.define("PANTLER_COMMIT", to: "\"\($0)\"")] } ?? []
        ),
        .systemLibrary(name: "CSQLite", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),

        .target(name: "FailingDisk", path: "Tests/FailingDisk"),
        .target(
            name: "Support",
            dependencies: [
                "PantlerMemory", "PantlerModel",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOTLS", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ],
            path: "Tests/Support"
        ),
        .testTarget(name: "PantlerJSONTests", dependencies: ["PantlerJSON", "Support"]),
        .testTarget(name: "PantlerCodecTests", dependencies: ["PantlerCodec", "Support"]),
        .testTarget(name: "PantlerInsightTests", dependencies: ["PantlerInsight", "PantlerModel", "Support"]),
        .testTarget(
            name: "PantlerMemoryTests",
            dependencies: ["PantlerMemory", "PantlerModel", "Support"]
        ),
        .testTarget(
            name: "PantlerDiskTests",
            dependencies: [
                "PantlerDisk", "PantlerCodec", "PantlerInsight", "PantlerModel", "CPantler", "CSQLite", "Support",
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
        .testTarget(
            name: "PantlerStoreTests",
            dependencies: ["PantlerStore", "PantlerMemory", "PantlerInsight", "PantlerJSON", "PantlerModel", "Support"]
        ),
        .testTarget(
            name: "PantlerSocketsTests",
            dependencies: [
                "PantlerSockets", "PantlerModel", "Support", .product(name: "NIOCore", package: "swift-nio"),
            ]
        ),
        .testTarget(
            name: "PantlerHTTPTests",
            dependencies: [
                "PantlerHTTP", "PantlerStore", "PantlerInsight", "PantlerModel", "PantlerSockets",
                "Support",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
        .testTarget(
            name: "pantlerTests",
            dependencies: [
                "pantler", "PantlerHTTP", "PantlerModel", "Support", .product(name: "Logging", package: "swift-log"),
            ]
        ),
        .testTarget(name: "Acceptance", dependencies: ["Support", "PantlerModel", "pantler"]),
    ],
    swiftLanguageModes: [.v6]
)

// Only where it is asked for: `PANTLER_BENCHMARKS=1 swift run -c release Benchmarks`.
if Context.environment["PANTLER_BENCHMARKS"] != nil {
    package.targets.append(
        .executableTarget(
            name: "Benchmarks",
            dependencies: [
                "PantlerHTTP", "PantlerStore", "PantlerMemory", "PantlerDisk", "PantlerJSON", "PantlerCodec",
                "PantlerModel", "Support", .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/Benchmarks/Micro"
        )
    )
}

// Only where it is asked for: `scripts/fuzz`. Its coverage is that of the modules under test, so they are all built for it.
let isFuzzed = Context.environment["PANTLER_FUZZ"] != nil
if isFuzzed {
    package.targets += [
        .target(name: "CFuzzer", path: "Tests/Fuzz/CFuzzer"),
        .executableTarget(
            name: "Fuzz",
            dependencies: [
                "CFuzzer", "PantlerHTTP", "PantlerStore", "PantlerDisk", "PantlerJSON", "PantlerCodec", "PantlerModel",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ],
            path: "Tests/Fuzz",
            exclude: ["README.md", "CFuzzer", "Corpus"],
            // gold, the usual one, fails at the line tables of so much instrumentation.
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]
        ),
    ]
}

for target in package.targets
where target.type != .system && !["CPantler", "FailingDisk", "CFuzzer"].contains(target.name) {
    target.swiftSettings = [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        // What the debug build's tests have proved is not checked again at run time: it is 4 % of a hit.
        .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
    ]
    // Its targets reach into the modules, as tests do.
    if isFuzzed { target.swiftSettings?.append(.unsafeFlags(["-sanitize=fuzzer,address", "-enable-testing"])) }
}

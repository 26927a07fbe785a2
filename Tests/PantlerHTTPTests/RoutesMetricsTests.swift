import Foundation
internal import NIOCore
internal import NIOHTTP1
import PantlerModel
import PantlerStore
import Support
import Testing

@testable import PantlerHTTP

@Suite("The page of metrics")
struct MetricsTests {
    private let store = Store(
        StoreOptions(),
        clock: ServiceClock(readings: .system(), resuming: nil),
        lower: nil,
        state: PersistedState()
    )

    private let figures: ServiceFigures = {
        var figures = ServiceFigures()
        figures.maxDiskBytes = 1000
        figures.isConfigurationCurrent = false
        figures.configurationReadSeconds = 1234.5
        return figures
    }()

    private func page(_ accept: HTTPHeaders = [:]) throws -> (text: String, contentType: String?) {
        var options = RouterOptions()
        options.serverVersion = "1.2.3"
        options.serverCommit = "abc"
        options.figures = { [figures] in figures }
        let response = Router(store, options).metrics(try judge(.get, "/metrics", accept))
        return (
            String(decoding: (response.body ?? ByteBuffer()).readableBytesView, as: UTF8.self), response.contentType
        )
    }

    private func fill() throws {
        let namespace = try Array("shop".utf8).withBytes { name throws(Problem) in
            try store.namespaceForWriting(name) { _ in }
        }
        let address = store.address(namespace, Array("a".utf8))
        store.put(namespace, address, Put(value: [0x31], kind: .json)) { _ in }
        for key in ["a", "a", "none"] {
            Array(key.utf8).withUnsafeBytes {
                _ = store.lookup(namespace, store.hash(namespace, $0), $0, store.moment(), counts: true) { _ in }
            }
        }
    }

    @Test("tells hits by tier and misses by reason, in either format")
    func samples() throws {
        var policy = Policy()
        policy.durability = .memory
        store.reconfigure(autoCreate: true, maxNamespaces: 10, defaultPolicy: policy)
        try fill()
        let (text, type) = try page()
        #expect(type == "text/plain; version=0.0.4; charset=utf-8")
        let metrics = try Metrics(text)
        #expect(metrics.sum("pantler_hits_total", ["namespace": "shop", "tier": "memory"]) == 2)
        #expect(metrics.sum("pantler_hits_total", ["namespace": "shop"]) == 2)
        #expect(metrics.sum("pantler_misses_total", ["namespace": "shop", "reason": "absent"]) == 1)
        #expect(metrics.sum("pantler_writes_total", ["namespace": "shop", "kind": "put"]) == 1)
        #expect(metrics.sum("pantler_entries", ["namespace": "shop", "tier": "memory"]) == 1)
        #expect(metrics.sum("pantler_build_info", ["version": "1.2.3", "commit": "abc"]) == 1)
        #expect(metrics.sum("pantler_ready") == 1)
        #expect(metrics.sum("pantler_config_last_reload_successful") == 0)
        #expect(metrics.sum("pantler_config_last_reload_success_timestamp_seconds") == 1234.5)
        #expect(metrics.sum("pantler_disk_limit_bytes") == 1000)
        #expect(metrics.sum("pantler_connections_limit") == Double(HTTPLimits().connections))
        #expect(text.contains("# HELP pantler_hits_total") && text.contains("stale hits are in it"))
        let (open, openType) = try page(["Accept": "application/openmetrics-text"])
        #expect(openType?.hasPrefix("application/openmetrics-text; version=1.0.0") == true)
        #expect(open.hasSuffix("# EOF\n"))
        #expect(open.contains("pantler_hits_total{namespace=\"shop\",tier=\"memory\"} 2\n"))
    }

    @Test("tells the bounds of a namespace, where it has any")
    func bounds() throws {
        var policy = Policy()
        policy.durability = .memory
        policy.maxMemory = 2000
        store.setPolicy(try NamespaceName("bounded"), policy) { _ in }
        policy.maxMemory = nil
        policy.maxEntries = 7
        policy.maxDisk = 3000
        store.setPolicy(try NamespaceName("other"), policy) { _ in }
        let metrics = try Metrics(try page().text)
        func labels(_ name: String) -> [String?] {
            metrics.samples.filter { $0.name == name }.map { $0.labels["namespace"] }
        }
        #expect(metrics.sum("pantler_namespace_memory_limit_bytes", ["namespace": "bounded"]) == 2000)
        #expect(labels("pantler_namespace_memory_limit_bytes") == ["bounded"])
        #expect(metrics.sum("pantler_namespace_entries_limit", ["namespace": "other"]) == 7)
        #expect(metrics.sum("pantler_namespace_disk_limit_bytes", ["namespace": "other"]) == 3000)
        #expect(labels("pantler_namespace_disk_limit_bytes") == ["other"])
    }

    @Test(
        "has nothing that promtool objects to",
        .enabled(
            if: FileManager.default.isExecutableFile(atPath: "/usr/bin/promtool"),
            "promtool comes with Debian's package prometheus"
        )
    )
    func promtool() throws {
        try fill()
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/promtool")
        process.arguments = ["check", "metrics"]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        process.standardError = output
        try process.run()
        try input.fileHandleForWriting.write(contentsOf: Data(try page().text.utf8))
        try input.fileHandleForWriting.close()
        let told = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(told)")
        #expect(told.isEmpty, "\(told)")
    }
}

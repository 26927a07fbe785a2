import Foundation
import PantlerModel
import Support
import Testing

@Suite("Event loops and the machine's cores")
struct CoreTests {
    private static let cores = Cores.ofTheProcess().numbers

    /// The cores that each thread of the service may run on, as /proc says, by the thread's name and number.
    private func allowed(_ server: ServerProcess) throws -> [(name: String, cores: String)] {
        let folder = "/proc/\(server.pid)/task"
        return try FileManager.default.contentsOfDirectory(atPath: folder).compactMap { thread in
            // One that has ended meanwhile has no status.
            guard let status = try? String(contentsOfFile: "\(folder)/\(thread)/status", encoding: .utf8) else {
                return nil
            }
            var fields: [String: String] = [:]
            for line in status.split(separator: "\n") {
                let parts = line.split(separator: ":", maxSplits: 1)
                fields[String(parts[0])] = parts.last.map { $0.trimmingCharacters(in: .whitespaces) }
            }
            return (fields["Name"] ?? "", fields["Cpus_allowed_list"] ?? "")
        }
    }

    @Test(
        "with pin_threads and a loop for each core each keeps to its own, and nothing else is kept anywhere",
        .enabled(if: cores.count > 1)
    )
    func kept() throws {
        // Other tests have threads keep to one core, and whoever begins on such a thread begins there. So would the service.
        Cores(Self.cores).keepThisThread()
        let server = try ServerProcess(
            .init(configuration: "server:\n  threads: \(Self.cores.count)\n  pin_threads: true\n")
        )
        // Connections for each, and work that a loop has others do.
        for number in 0..<Self.cores.count * 2 {
            _ = try server.client.put("/v1/namespaces/ns/values/\(number)", "1")
            _ = try server.client.post("/v1/namespaces/ns/invalidate", #"{"prefix":"\#(number)"}"#)
        }
        var threads: [(name: String, cores: String)] = []
        try eventually("each loop keeps to its core, and the others have all: \(threads)") {
            threads = try allowed(server)
            let loops = threads.filter { $0.name.hasPrefix("http-") }
            let others = Set(threads.filter { !$0.name.hasPrefix("http-") }.map(\.cores))
            return Set(loops.map(\.cores)) == Set(Self.cores.map(String.init)) && loops.count == Self.cores.count
                && others.count == 1 && others.isDisjoint(with: loops.map(\.cores))
        }
        #expect(try server.terminate() == .exited(0))
    }

    @Test(
        "loops run where there is room: unless they are asked to keep to their cores, and where they are fewer",
        .enabled(if: cores.count > 1),
        arguments: ["threads: \(cores.count)", "threads: 1\n  pin_threads: true"]
    )
    func free(settings: String) throws {
        // As above.
        Cores(Self.cores).keepThisThread()
        let server = try ServerProcess(.init(configuration: "server:\n  \(settings)\n"))
        #expect(expect(try server.client.get("/livez"), 200).text == #"{"status":"ok"}"#)
        #expect(Set(try allowed(server).map(\.cores)).count == 1)
    }
}

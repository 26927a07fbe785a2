import Support
import Testing

extension Heavy {
    @Suite("The memory bound")
    struct MemoryBoundTests {
        static let maxMemory = 256 << 20
        /// What the process may take in all, whatever is asked of it.
        static let maxResident = maxMemory + maxMemory / 4 + (60 << 20)

        /// Fails where the process took more than it may at any time, or where the load never filled its memory.
        private func check(_ server: ServerProcess) throws {
            #expect(server.peakResidentBytes <= Self.maxResident, "\(server.peakResidentBytes >> 20) MiB")
            let memory = try server.client.get("/v1/stats").json["memory"]
            #expect(memory["limit"].int == Self.maxMemory)
            let used = try #require(memory["bytes"].int)
            #expect((Self.maxMemory / 16 * 13...Self.maxMemory).contains(used), "\(used >> 20) MiB are full")
            #expect(try server.terminate() == .exited(0))
        }

        @Test(
            "many times as much as fits goes through, and the process stays within its size",
            arguments: [("memory", 2 << 30), ("behind", 768 << 20)]
        )
        func values(durability: String, load: Int) throws {
            let server = try ServerProcess(.init(configuration: "memory:\n  max_memory: 256MiB\n"))
            let ns = try server.client.namespace(#"{"durability":"\#(durability)"}"#)
            let generator = SeededGenerator()
            _ = try onThreads(2) { thread in
                let http = server.client
                var generator = SeededGenerator(seed: generator.seed &+ UInt64(thread))
                let bytes = generator.bytes(128 << 10)
                var left = load / 2
                var number = 0
                while left > 0 {
                    let size = Int.random(in: 1024...65_536, using: &generator)
                    let start = Int.random(in: 0...bytes.count - size, using: &generator)
                    let value = bytes[start..<start + size]
                    let put = try http.put("\(ns)/values/\(thread)-\(number)", bytes: value)
                    guard put.status == 201 else { throw Failure("\(put)") }
                    left -= size
                    number += 1
                    // What came last is there; what came first has made room for it.
                    guard number % 1000 == 0 else { continue }
                    let last = try http.get("\(ns)/values/\(thread)-\(number - 1)")
                    guard last.body.elementsEqual(value), last.detail == "memory" else {
                        throw Failure("\(last.headers)")
                    }
                }
                return number
            }
            try check(server)
        }

        @Test("small entries count with all that is kept about them")
        func smallEntries() throws {
            let server = try ServerProcess(.init(configuration: "memory:\n  max_memory: 256MiB\n"))
            let ns = try server.client.namespace(#"{"durability":"memory"}"#)
            let value = String(repeating: "x", count: 400)
            _ = try onThreads(2) { thread in
                let http = server.client
                for batch in 0..<330 {
                    let entries = (0..<1000).map { #"{"key":"\#(thread)-\#(batch)-\#($0)","value":"\#(value)"}"# }
                    let body = #"{"entries":[\#(entries.joined(separator: ","))]}"#
                    let set = try http.post("\(ns)/batch/set", body)
                    guard set.json["entries"].array.count == 1000 else { throw Failure("\(set)") }
                }
            }
            try check(server)
        }
    }
}

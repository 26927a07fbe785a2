import Support
import Testing

extension Heavy {
    /// What README says the process may take at most, held by clients that do not read, others that send slowly, and the largest answers.
    @Suite("The bound of all that is under way")
    struct FlightBoundTests {
        private static let mebi = 1 << 20
        private static let configuration = """
            server:
              threads: 2
            memory:
              max_memory: 64MiB
            limits:
              body_size: 16MiB
              answer_size: 16MiB
              bytes_in_flight: 64MiB
              connections: 600

            """
        /// README's sum: an empty service, memory, bytes in flight, connections, the disk tier's caches and queue, what is worked on.
        private static let most =
            40 * mebi + 64 * mebi + 64 * mebi + 600 * (32 << 10) + (8 + 4 * 4 + 3 * 16) * mebi
            + 2 * (2 * 16 + 16) * mebi + 2 * 3 * 8 * mebi

        @Test("200 clients that do not read, 200 that send slowly, and batches of the largest answers stay within it")
        func together() throws {
            let server = try ServerProcess(.init(configuration: Self.configuration))
            // A build for debugging takes long over megabytes of base64, two at a time and beside 400 others.
            let http = HTTPClient(port: server.port, within: 120)
            let ns = "/v1/namespaces/flight"
            let generator = SeededGenerator()
            var large = generator
            let value = large.bytes(Self.mebi)
            let keys = (0..<48).map { "k\($0)" }
            for key in keys { expect(try http.put("\(ns)/values/\(key)", bytes: value, type: "image/png"), 201) }
            try http.store(ns, "small", "17")

            var silent: [RawConnection] = []
            var slow: [RawConnection] = []
            for number in 0..<200 {
                let reader = try RawConnection(port: server.port)
                let target = "\(ns)/\(number % 2 == 0 ? "values" : "entries")/\(keys[number % keys.count])"
                try reader.send(http.head("GET", target, [:], bodyCount: nil))
                silent.append(reader)
                let sender = try RawConnection(port: server.port)
                try sender.send(http.head("PUT", "\(ns)/values/slow-\(number)", [:], bodyCount: 8 * Self.mebi))
                slow.append(sender)
            }
            let body = #"{"keys":[\#(keys.map { "\"\($0)\"" }.joined(separator: ","))]}"#
            let statuses = Shared<[Int: Int]>([:])
            @Sendable func note(_ status: Int) { statuses.update { $0[status, default: 0] += 1 } }
            let batches = BackgroundThreads(2) { thread in
                let http = HTTPClient(port: server.port, within: 120)
                for _ in 0..<5 {
                    note(try http.post("\(ns)/batch/get", body).status)
                    // What has left memory for the new ones comes from disk.
                    let put = try http.put("\(ns)/values/new-\(thread)", bytes: value, type: "image/png")
                    note(put.status)
                    guard try http.get("\(ns)/entries/small").status == 200 else { throw Failure("a small get fails") }
                }
            }
            let piece = [UInt8](repeating: 7, count: 16 << 10)
            for _ in 0..<20 {
                for sender in slow where !sender.hasInput(within: 0) { try? sender.send(piece) }
            }
            _ = try batches.join()
            #expect(
                server.peakResidentBytes <= Self.most,
                "\(server.peakResidentBytes >> 20) of \(Self.most >> 20) MiB"
            )
            #expect(Set(statuses.value.keys).isSubset(of: [200, 201, 503]), "\(statuses.value)")
            silent.removeAll()
            slow.removeAll()
            try eventually(within: 30, "all is given back") {
                try server.metrics().sum("pantler_bytes_in_flight") == 0
            }
            expect(try http.post("\(ns)/batch/get", body), 200)
            #expect(try server.terminate() == .exited(0))
        }
    }
}

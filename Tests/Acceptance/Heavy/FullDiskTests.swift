import Support
import Testing

extension Heavy {
    @Suite("A full disk", .enabled(if: TemporaryMount.isPossible, "to mount a small file system takes root"))
    struct FullDiskTests {
        /// A service on a disk of its own, and its three namespaces.
        private struct Place {
            let disk: TemporaryMount
            let server: ServerProcess
            let http: HTTPClient
            let through: String
            let behind: String
            let memory: String

            init(configuration: String = "", size: String = "16m") throws {
                disk = try TemporaryMount(size: size)
                server = try ServerProcess(.init(configuration: configuration, data: disk.dataFolder))
                http = server.client
                through = try http.namespace(#"{"durability":"through"}"#)
                behind = try http.namespace(#"{"durability":"behind"}"#)
                memory = try http.namespace(#"{"durability":"memory"}"#)
            }

            /// Fills the disk until no `through` write finds room, not even in what SQLite has already. Returns the values that were
            /// written, and the keys of those that were refused.
            ///
            /// - Parameter byOthers: whether something else takes the room first, and not these writes all of it.
            func fill(
                _ generator: inout SeededGenerator,
                byOthers: Bool = true
            ) throws -> (kept: [String: [UInt8]], refused: [String]) {
                if byOthers { try disk.fill() }
                var kept: [String: [UInt8]] = [:]
                var refused: [String] = []
                var inARow = 0
                for number in 0..<2000 where inARow < 20 {
                    // Large ones until the first is refused, then small ones.
                    let value = generator.bytes(refused.isEmpty ? 40_000 : 500)
                    let response = try http.put("\(through)/values/k\(number)", bytes: value, ["Cache-Tag": "red"])
                    if response.status == 201 {
                        kept["k\(number)"] = value
                        inARow = 0
                    } else {
                        expect(response, 507, "storage_full")
                        refused.append("k\(number)")
                        inARow += 1
                    }
                }
                #expect(inARow == 20, "the disk is full: \(kept.count) writes went through")
                return (kept, refused)
            }

            func checkDegraded() throws {
                let ready = try http.get("/readyz")
                #expect(ready.text == #"{"status":"degraded","disk":{"fault":"the disk is full"}}"#)
                #expect(ready.status == 503)
                expect(try http.get("/livez"), 200)
                #expect(try http.get("/v1/stats").json["disk"]["fault"].string == "the disk is full")
                #expect(try server.metrics().sum("pantler_disk_up") == 0)
                #expect(server.log.contains("full"), "\(server.log)")
            }

            func makeRoom() throws {
                try disk.makeRoom()
                try eventually(within: 20, "the disk tier writes again\n\(server.log)") {
                    try http.get("/readyz").status == 200
                }
                #expect(try server.metrics().sum("pantler_disk_up") == 1)
            }

            func checkKept(_ kept: [String: [UInt8]], _ refused: [String], _ http: HTTPClient) throws {
                for (key, value) in kept { #expect(try http.get("\(through)/values/\(key)").body == value, "\(key)") }
                for key in refused { expect(try http.get("\(through)/values/\(key)"), 404, "entry_not_found") }
            }
        }

        @Test("through writes are refused and not seen, all else goes on, and with room all is well again")
        func whole() throws {
            let place = try Place()
            defer { place.disk.remove() }
            let http = place.http
            var generator = SeededGenerator()
            let version = try http.store(place.through, "early", "1")
            // Before: afterwards not one may find room.
            let gone = "gone"
            try http.store(place.through, gone, "2")
            let (kept, refused) = try place.fill(&generator)
            try place.checkDegraded()

            // What stood before a refused write stands after it.
            expect(try http.put("\(place.through)/entries/early", #"{"value":2}"#), 507, "storage_full")
            expect(try http.patch("\(place.through)/entries/early", #"{"value":3}"#), 507, "storage_full")
            expect(try http.post("\(place.through)/counters/early", "{}"), 507, "storage_full")
            let early = expect(try http.get("\(place.through)/entries/early"), 200)
            #expect(early.version == version)
            #expect(early.json["value"].int == 1)
            try place.checkKept(kept, refused, http)
            // What makes room is written: some is kept back for it.
            expect(try http.delete("\(place.through)/entries/\(gone)"), 204)
            expect(try http.post("\(place.through)/invalidate", #"{"tags":["t"]}"#), 200)
            expect(try http.patch(place.through, #"{"default_ttl":86400}"#), 200)

            for namespace in [place.behind, place.memory] {
                try http.store(namespace, "late", "4")
                #expect(try http.get("\(namespace)/entries/late").json["value"].int == 4)
                try http.store(namespace, "late", "5")
                expect(try http.delete("\(namespace)/entries/late"), 204)
                try http.store(namespace, "late", "6")
            }
            try place.checkDegraded()

            try place.makeRoom()
            #expect(try http.store(place.through, "early", "7") > version)
            try http.store(place.through, refused[0], "8")
            #expect(try place.server.terminate() == .exited(0), "\(place.server.log)")
            let next = try place.server.restarted()
            #expect(try next.client.get("\(place.behind)/values/late").text == "6", "it waited for room")
            #expect(try next.client.get("\(place.through)/values/early").text == "7")
            #expect(try next.client.get("\(place.through)/values/\(refused[0])").text == "8")
            try place.checkKept(kept, Array(refused.dropFirst()), next.client)
            #expect(try next.terminate() == .exited(0))
        }

        /// Rewrites entries that are on disk while no room is left there, many more than may wait. Returns how many.
        private func overflow(_ place: Place) throws -> Int {
            let count = 500
            var generator = SeededGenerator()
            for number in 0..<count { try place.http.store(place.behind, "k\(number)", #""old""#) }
            _ = try place.fill(&generator)
            for number in 0..<count { try place.http.store(place.behind, "k\(number)", "\(number)") }
            return count
        }

        @Test("writers are not held up: what waits beyond the queue's bound is given up, and counted")
        func bounded() throws {
            let place = try Place(configuration: "disk:\n  queue_entries: 100\n")
            defer { place.disk.remove() }
            let count = try overflow(place)
            for number in 0..<count {
                #expect(try place.http.get("\(place.behind)/values/k\(number)").text == "\(number)")
            }
            try eventually("the queue is within its bound") {
                try place.http.get("/v1/stats").json["write_behind"]["entries"].int ?? .max <= 100
            }
            let lost = try place.server.metrics().sum("pantler_disk_lost_writes_total")
            #expect(lost > 100, "\(lost)")
            try place.makeRoom()
            #expect(try place.server.terminate() == .exited(0), "\(place.server.log)")
        }

        @Test("what was given up is missing later: the older value that it replaced does not come back")
        func givenUp() throws {
            let place = try Place(configuration: "disk:\n  queue_entries: 100\n")
            defer { place.disk.remove() }
            let count = try overflow(place)
            try place.makeRoom()
            #expect(try place.server.terminate() == .exited(0), "\(place.server.log)")
            let next = try place.server.restarted()
            let old = try (0..<count).filter { number in
                let found = try next.client.get("\(place.behind)/values/k\(number)")
                return found.status == 200 && found.text != "\(number)"
            }
            #expect(old.isEmpty, "\(old.count) of \(count) have their older value")
            #expect(try next.terminate() == .exited(0))
        }

        /// How a namespace is rid of what fills the disk.
        enum Riddance: String, CaseIterable {
            case all, tags, prefix, drop, deletes

            func apply(to namespace: String, _ keys: [String], _ http: HTTPClient) throws {
                switch self {
                case .all: expect(try http.post("\(namespace)/invalidate", #"{"all":true}"#), 200)
                case .tags: expect(try http.post("\(namespace)/invalidate", #"{"tags":["red"]}"#), 200)
                case .prefix: expect(try http.post("\(namespace)/invalidate", #"{"prefix":"k"}"#), 200)
                case .drop: expect(try http.drop(namespace), 204)
                case .deletes: for key in keys { expect(try http.delete("\(namespace)/entries/\(key)"), 204) }
                }
            }
        }

        @Test(
            "what is invalidated, deleted or dropped on a disk that it has filled makes room by itself",
            arguments: Riddance.allCases
        )
        func freed(by riddance: Riddance) throws {
            let place = try Place(size: "8m")
            defer { place.disk.remove() }
            var generator = SeededGenerator()
            let (kept, _) = try place.fill(&generator, byOthers: false)
            try place.checkDegraded()
            try riddance.apply(to: place.through, kept.keys.sorted(), place.http)
            let other = try place.http.namespace(#"{"durability":"through"}"#)
            try eventually(within: 10, "it takes writes again\n\(place.server.log)") {
                try place.http.put("\(other)/values/again", bytes: generator.bytes(50_000)).status == 201
            }
            try eventually(within: 10, "it is ready") { try place.http.get("/readyz").status == 200 }
            let value = generator.bytes(50_000)
            expect(try place.http.put("\(other)/values/last", bytes: value), 201)
            #expect(try place.server.terminate() == .exited(0), "\(place.server.log)")
            let next = try place.server.restarted()
            #expect(try next.client.get("\(other)/values/last").body == value)
            for key in kept.keys { #expect(try next.client.get("\(place.through)/values/\(key)").status == 404) }
            #expect(try next.terminate() == .exited(0))
        }

        @Test("a start on a full disk serves what is there, shows the fault, takes deletes, and recovers by itself")
        func start() throws {
            let place = try Place()
            defer { place.disk.remove() }
            let version = try place.http.store(place.through, "early", "1")
            try place.http.store(place.through, "gone", "2")
            #expect(try place.server.terminate() == .exited(0))
            try place.disk.fill()
            let next = try place.server.restarted()
            let http = next.client
            #expect(expect(try http.get("\(place.through)/entries/early"), 200).version == version)
            expect(try http.put("\(place.through)/entries/late", #"{"value":2}"#), 507, "storage_full")
            try http.store(place.memory, "late", "3")
            #expect(try http.get("\(place.memory)/entries/late").json["value"].int == 3)
            let ready = try http.get("/readyz")
            #expect(ready.status == 503, "\(ready)")
            #expect(ready.text == #"{"status":"degraded","disk":{"fault":"the disk is full"}}"#)
            #expect(try next.metrics().sum("pantler_disk_up") == 0)
            expect(try http.delete("\(place.through)/entries/gone"), 204)
            try place.disk.makeRoom()
            try eventually(within: 20, "the disk tier writes again\n\(next.log)") {
                try http.get("/readyz").status == 200
            }
            #expect(try http.store(place.through, "late", "4") > version)
            #expect(try next.terminate() == .exited(0), "\(next.log)")
        }

        @Test("a stop while the disk is full is a stop: within 10 s, and what is on disk stays")
        func stop() throws {
            let place = try Place()
            defer { place.disk.remove() }
            var generator = SeededGenerator()
            let (kept, refused) = try place.fill(&generator)
            try place.http.store(place.behind, "late")
            _ = try place.server.terminate(within: 10)
            try place.disk.makeRoom()
            let next = try place.server.restarted()
            try place.checkKept(kept, refused, next.client)
            #expect(try next.terminate() == .exited(0))
        }
    }
}

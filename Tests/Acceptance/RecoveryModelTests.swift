import Support
import Testing

@Suite("Against a model")
struct RecoveryModelTests {
    /// The service, the model that it is held to, and what is drawn next.
    private struct Run {
        var server: ServerProcess
        var http: HTTPClient
        var generator: SeededGenerator
        let ns: String
        var model = NamespaceModel()
        var lastVersion = 0
        /// The seed and the number of the step, for whoever has to find out.
        var step = 0

        init(policy: String) throws {
            server = try ServerProcess()
            http = server.client
            generator = SeededGenerator()
            ns = try http.namespace(policy)
        }

        var context: String { "step \(step), \(generator)" }

        mutating func key() -> String {
            let number = Int.random(in: 0..<30, using: &generator)
            return ["", "a/", "a/b/"][number % 3] + "k\(number)"
        }

        mutating func tags() -> [String] {
            ["red", "green", "blue"].filter { _ in Int.random(in: 0..<3, using: &generator) == 0 }
        }

        mutating func value() -> NamespaceModel.Value {
            let number = Int.random(in: 0..<1_000_000, using: &generator)
            switch Int.random(in: 0..<4, using: &generator) {
            case 0: return .integer(number)
            case 1: return .text(String(repeating: "\(number) ", count: number % 700))
            default:
                let names = ["n", "m", "ö"].prefix(Int.random(in: 0...3, using: &generator))
                return .object(names.map { NamespaceModel.Value.Member(name: $0, number: number) })
            }
        }

        /// Takes the version of an answer: larger than all before.
        mutating func version(_ response: Response) throws -> Int {
            let version = try #require(response.version, "\(response); \(context)")
            #expect(version > lastVersion, "\(context)")
            lastVersion = version
            return version
        }
    }

    @Test(
        "thousands of random requests are answered as a dictionary would, with restarts in between",
        arguments: [
            "{}", #"{"durability":"through"}"#, #"{"max_entries":10}"#,
            #"{"compression":{"threshold":1,"level":9},"max_entries":16}"#,
        ]
    )
    func random(policy: String) throws {
        var run = try Run(policy: policy)
        for step in 1...1200 {
            run.step = step
            switch Int.random(in: 0..<100, using: &run.generator) {
            case 0..<25: try put(&run)
            case 25..<50: try get(&run)
            case 50..<60: try delete(&run)
            case 60..<70: try patch(&run)
            case 70..<80: try count(&run)
            case 80..<86: try batchSet(&run)
            case 86..<92: try batchGet(&run)
            case 92..<97: try invalidate(&run)
            case 97..<99: try list(&run)
            default: try restart(&run)
            }
        }
        try restart(&run)
        #expect(try run.server.terminate() == .exited(0))
    }

    private func put(_ run: inout Run) throws {
        let key = run.key()
        let (value, tags) = (run.value(), run.tags())
        let present = run.model.entries[key]
        var headers: [String: String] = [:]
        var holds = true
        switch Int.random(in: 0..<6, using: &run.generator) {
        case 0: (headers["If-None-Match"], holds) = ("*", present == nil)
        case 1: (headers["If-Match"], holds) = ("*", present != nil)
        case 2:
            let wanted = Bool.random(using: &run.generator) ? present?.version ?? 1 : run.lastVersion
            (headers["If-Match"], holds) = ("\"\(wanted)\"", present?.version == wanted)
        default: break
        }
        let body = #"{"value":\#(value.json),"tags":[\#(tags.map(quoted).joined(separator: ","))]}"#
        let response = try run.http.put("\(run.ns)/entries/\(key)", body, headers)
        guard holds else {
            expect(response, 412, "version_mismatch")
            #expect(response.version == present?.version, "\(run.context)")
            return
        }
        #expect(response.status == (present == nil ? 201 : 200), "\(response); \(run.context)")
        run.model.put(key, NamespaceModel.Entry(value: value, version: try run.version(response), tags: tags))
    }

    private func get(_ run: inout Run) throws {
        let key = run.key()
        let response = try run.http.get("\(run.ns)/entries/\(key)")
        guard let entry = run.model.entries[key] else {
            expect(response, 404, "entry_not_found")
            if let reason = run.model.reasons[key] { #expect(response.reason == reason, "\(key), \(run.context)") }
            return
        }
        check(response, key, entry, run)
    }

    private func check(_ response: Response, _ key: String, _ entry: NamespaceModel.Entry, _ run: Run) {
        let tags = entry.tags.isEmpty ? "" : #","tags":[\#(entry.tags.map(quoted).joined(separator: ","))]"#
        let body =
            #"{"key":\#(quoted(key)),"value":\#(entry.value.json),"version":\#(entry.version),"expires_at":null\#(tags)}"#
        #expect(response.text == body, "\(run.context)")
    }

    private func delete(_ run: inout Run) throws {
        let key = run.key()
        let response = try run.http.delete("\(run.ns)/entries/\(key)")
        #expect(response.status == (run.model.entries[key] == nil ? 404 : 204), "\(response); \(run.context)")
        _ = run.model.remove([key], "deleted")
    }

    private func patch(_ run: inout Run) throws {
        let key = run.key()
        let patch = ["n", "m", "p"].map { name in
            let number = Int.random(in: 0..<1000, using: &run.generator)
            return (name: name, number: number % 4 == 0 ? nil : number)
        }
        let members = patch.map { "\(quoted($0.name)):\($0.number.map(String.init) ?? "null")" }
        let response = try run.http.patch(
            "\(run.ns)/entries/\(key)",
            #"{"value":{\#(members.joined(separator: ","))}}"#
        )
        guard var entry = run.model.entries[key] else {
            expect(response, 404, "entry_not_found")
            return
        }
        expect(response, 200)
        entry.value = entry.value.merged(patch)
        entry.version = try run.version(response)
        run.model.put(key, entry)
    }

    private func count(_ run: inout Run) throws {
        let key = run.key()
        let by = Int.random(in: -1000...1000, using: &run.generator)
        let makes = Bool.random(using: &run.generator)
        let response = try run.http.post(
            "\(run.ns)/counters/\(key)",
            makes ? #"{"by":\#(by),"initial":5}"# : #"{"by":\#(by)}"#
        )
        var entry = run.model.entries[key]
        if entry == nil, makes { entry = NamespaceModel.Entry(value: .integer(5), version: 0, tags: []) }
        guard var entry else {
            expect(response, 404, "entry_not_found")
            return
        }
        guard case .integer(let number) = entry.value else {
            expect(response, 409, "not_an_integer")
            return
        }
        #expect(response.json["value"].int == number + by, "\(response); \(run.context)")
        entry.value = .integer(number + by)
        entry.version = try run.version(response)
        run.model.put(key, entry)
    }

    private func batchSet(_ run: inout Run) throws {
        let entries = (0..<5).map { _ in (key: run.key(), value: run.value(), tags: run.tags()) }
        let bodies = entries.map { key, value, tags in
            #"{"key":\#(quoted(key)),"value":\#(value.json),"tags":[\#(tags.map(quoted).joined(separator: ","))]}"#
        }
        let response = expect(
            try run.http.post("\(run.ns)/batch/set", #"{"entries":[\#(bodies.joined(separator: ","))]}"#),
            200
        )
        let answers = response.json["entries"].array
        #expect(answers.map { $0["key"].string } == entries.map(\.key), "\(run.context)")
        for (entry, answer) in zip(entries, answers) {
            let version = try #require(answer["version"].int)
            #expect(version > run.lastVersion, "\(run.context)")
            run.lastVersion = version
            run.model.put(entry.key, NamespaceModel.Entry(value: entry.value, version: version, tags: entry.tags))
        }
    }

    private func batchGet(_ run: inout Run) throws {
        let keys = (0..<6).map { _ in run.key() }
        let response = expect(
            try run.http.post("\(run.ns)/batch/get", #"{"keys":[\#(keys.map(quoted).joined(separator: ","))]}"#),
            200
        )
        let found = response.json["entries"].array
        let missing = Set(response.json["missing"].strings)
        #expect(missing == Set(keys.filter { run.model.entries[$0] == nil }), "\(run.context)")
        for answer in found {
            let entry = run.model.entries[answer["key"].string ?? ""]
            #expect(entry?.version == answer["version"].int, "\(run.context)")
        }
        #expect(Set(found.compactMap { $0["key"].string }) == Set(keys).subtracting(missing), "\(run.context)")
    }

    private func invalidate(_ run: inout Run) throws {
        let keys = run.model.entries
        let what: (body: String, keys: [String], count: Bool)
        switch Int.random(in: 0..<7, using: &run.generator) {
        case 0: what = (#"{"all":true}"#, Array(keys.keys), false)
        case 1, 2: what = (#"{"prefix":"a/b"}"#, keys.keys.filter { $0.hasPrefix("a/b") }, true)
        case 3:
            what = (
                #"{"tags":["red","blue"]}"#, keys.filter { !$1.tags.allSatisfy { $0 == "green" } }.map(\.key), false
            )
        default: what = (#"{"tags":["green"]}"#, keys.filter { $1.tags.contains("green") }.map(\.key), false)
        }
        let response = expect(try run.http.post("\(run.ns)/invalidate", what.body), 200)
        let count = run.model.remove(what.keys, "invalidated")
        if what.count { #expect(response.json["invalidated"].int == count, "\(run.context)") }
        guard what.body.contains("all") else { return }
        run.model.generation += 1
        #expect(response.json["generation"].int == run.model.generation, "\(run.context)")
    }

    private func list(_ run: inout Run) throws {
        var keys: [String] = []
        var cursor = ""
        let prefix = Bool.random(using: &run.generator) ? "a/" : ""
        repeat {
            let page = expect(
                try run.http.get(
                    "\(run.ns)/entries?prefix=\(prefix)&limit=7\(cursor.isEmpty ? "" : "&cursor=\(cursor)")"
                ),
                200
            )
            for row in page.json["entries"].array {
                let key = try #require(row["key"].string)
                keys.append(key)
                let entry = run.model.entries[key]
                #expect(row["version"].int == entry?.version, "\(key), \(run.context)")
                #expect(row["size"].int == entry?.value.json.utf8.count, "\(key), \(run.context)")
            }
            cursor = page.json["cursor"].string ?? ""
        } while !cursor.isEmpty
        #expect(keys == run.model.entries.keys.filter { $0.hasPrefix(prefix) }.sorted(), "\(run.context)")
    }

    /// Stops the service, starts it on what it left, and looks at everything.
    private func restart(_ run: inout Run) throws {
        #expect(try run.server.terminate() == .exited(0), "\(run.context)\n\(run.server.log.suffix(4000))")
        run.server = try run.server.restarted()
        run.http = run.server.client
        run.model.reasons = [:]
        try list(&run)
        for (key, entry) in run.model.entries {
            check(try run.http.get("\(run.ns)/entries/\(key)"), key, entry, run)
        }
        #expect(try run.http.get(run.ns).json["generation"].int == run.model.generation, "\(run.context)")
    }
}

import Glibc
import Support

/// One of every kind of change, in a fixed order, over a folder that `prepare` has filled.
enum DiskScript {
    typealias Step = @Sendable (inout DiskCaller) throws -> Void

    /// Small enough for its checkpoints and its journal to be met within the script.
    static let configuration = """
        server: {threads: 1}
        memory: {max_memory: 16MiB, shards: 1}
        disk: {readers: 1, wal_size: 1MiB}
        """

    static func text(_ seed: UInt64, _ count: Int) -> String {
        var generator = SeededGenerator(seed: seed)
        // 6 bits a byte: nearly nothing to deflate.
        let letters = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_".utf8)
        return "\"" + String(decoding: generator.bytes(count).map { letters[Int($0 & 63)] }, as: UTF8.self) + "\""
    }

    static func repeated(_ word: String, _ count: Int) -> String {
        "\"" + String(repeating: word, count: count) + "\""
    }

    /// Namespaces with something to change in them. Leaves a log that is due to be copied.
    static func prepare(_ caller: inout DiskCaller) throws {
        try caller.setPolicy("t", .through, defaultTTL: 100_000)
        try caller.setPolicy("b", .behind, defaultTTL: 100_000)
        try caller.setPolicy("m", .memory, defaultTTL: 100_000)
        try caller.setPolicy("x", .behind, defaultTTL: 1001)
        try caller.setPolicy("y", .through, defaultTTL: 1002)
        try caller.setPolicy("e", .through, defaultTTL: 100_000, maxDisk: 32_768)
        for name in ["t", "b"] {
            for number in 0..<6 { try caller.put(name, "old\(number)", .init(value: "\(number)")) }
            for number in 0..<3 { try caller.put(name, "p/\(number)", .init(value: "\(number)")) }
            try caller.put(name, "object", .init(value: #"{"n":1}"#))
            try caller.put(name, "counter", .init(value: "5"))
            try caller.put(name, "red", .init(value: "1", tags: ["red"]))
            try caller.put(name, "blue", .init(value: "2", tags: ["blue"], staleTTL: 90_000))
            try caller.put(name, "soft", .init(value: "3", staleTTL: 90_000))
            try caller.put(name, "s/1", .init(value: "4", staleTTL: 90_000))
            try caller.put(name, "dying", .init(value: "6"))
        }
        for name in ["x", "y"] { try caller.put(name, "k", .init(value: "1")) }
        try caller.put("x", "gone", .init(value: "1"))
        for number in 0..<100 { try caller.put("t", "large", .init(value: text(UInt64(number), 9000))) }
        try caller.put("t", "large", .init(value: text(100, 9000)))
        caller.model.noteCommitted()
    }

    /// Waits until what was answered is committed, if the disk lets it be.
    static func settle(_ caller: inout DiskCaller) throws {
        let deadline = Deadline(after: max(0.1, caller.patience))
        while true {
            let ready = try caller.http.get("/readyz").status
            let waiting = try caller.http.get("/v1/stats").json["write_behind"]["entries"].int
            if ready == 200, waiting == 0 { return caller.model.noteCommitted() }
            if deadline.hasPassed {
                if caller.patience > 0 {
                    caller.complain("the tier is not well again: \(ready), \(waiting ?? -1) wait")
                }
                return
            }
            poll(nil, 0, 5)
        }
    }

    static let steps: [Step] =
        changes("t") + [{ try $0.put("t", "large", .init(value: text(7, 20_000))) }] + changes("b") + journaled + lives
        + bounded

    /// Every kind of change of entries.
    private static func changes(_ name: String) -> [Step] {
        [
            { try $0.put(name, "new", .init(value: #""first""#)) },
            { try $0.put(name, "old0", .init(value: "10", tags: ["red"])) },
            { try $0.put(name, "old1", .init(value: "11", onlyIfSame: true)) },
            { try $0.put(name, "added", .init(value: "12", onlyIfAbsent: true)) },
            { try $0.touch(name, "old2") },
            { try $0.merge(name, "object", 2) },
            { try $0.count(name, "counter", by: 7) },
            { try $0.delete(name, "old3") },
            { try $0.put(name, "deflated", .init(value: repeated("over and over ", 600))) },
            { try $0.put(name, "dying", .init(value: "60", ttl: "0.05")) },
            { try $0.invalidate(name, .keys(["old4", "new"])) },
            { try $0.invalidate(name, .tags(["red"])) },
            { try $0.invalidate(name, .prefix("p/")) },
            { try $0.invalidate(name, .keys(["soft"]), stale: true) },
            { try $0.invalidate(name, .tags(["blue"]), stale: true) },
            { try $0.invalidate(name, .prefix("s/"), stale: true) },
            { try $0.count(name, "made", by: 1) },
            { try $0.batchSet(name, [("old0", "20"), ("set", "21"), ("old3", "22")]) },
            { try $0.batchDelete(name, ["set", "old5"]) },
            { try settle(&$0) },
        ]
    }

    /// Enough at once to go by way of the journal, and from there to their rows.
    private static let journaled: [Step] = [
        { try $0.batchSet("b", (0..<24).map { ("j/\($0)", "\($0)") }) },
        { try $0.batchDelete("b", (0..<8).map { "j/\($0)" }) },
        { try settle(&$0) },
        // Waits for the journal to be merged.
        { try $0.invalidate("b", .prefix("j/1")) },
        // Synced, and so is all before it.
        { try $0.put("t", "after", .init(value: "1")) },
        { try $0.invalidate("b", .all) },
        { try $0.put("b", "old0", .init(value: "30")) },
        { try $0.invalidate("t", .all, stale: true) },
        { try $0.put("t", "old0", .init(value: "31")) },
    ]

    /// Namespaces that come, change and go.
    private static let lives: [Step] = [
        { try $0.setPolicy("x", .memory, defaultTTL: 1003) },
        { try $0.put("x", "k", .init(value: "2")) },
        { try $0.delete("x", "gone") },
        { try $0.setPolicy("x", .behind, defaultTTL: 1004) },
        { try settle(&$0) },
        { try $0.put("y", "k", .init(value: "2")) },
        { try $0.drop("y") },
        { try $0.setPolicy("y", .through, defaultTTL: 1005) },
        { try $0.put("y", "k2", .init(value: "3")) },
        { try $0.setPolicy("y", .behind, defaultTTL: 1006) },
        { try $0.put("y", "k3", .init(value: "4")) },
        { try $0.setPolicy("y", .through, defaultTTL: 1007) },
        { try $0.put("y", "k3", .init(value: "5")) },
        { try $0.drop("x") },
        { try $0.setPolicy("z", .through, defaultTTL: 1008) },
        { try $0.put("z", "k", .init(value: "1")) },
    ]

    /// More than its namespace may hold, so that others leave.
    private static let bounded: [Step] = (0..<5).map { number in
        { try $0.put("e", "e\(number)", .init(value: text(UInt64(number), 9000))) }
    }
}

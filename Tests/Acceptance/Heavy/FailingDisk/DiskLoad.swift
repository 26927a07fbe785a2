import Support

/// Changes of all kinds at random, over namespaces of one caller's own.
struct DiskLoad {
    private var generator: SeededGenerator
    /// Ends the names of its namespaces.
    private let number: Int
    private var written = 0

    private static let keys = ["a", "b", "c", "d", "p/1", "p/2", "p/3", "q/1", "q/2"]

    init(number: Int, seed: UInt64) {
        self.number = number
        generator = SeededGenerator(seed: seed)
    }

    private var through: String { "t\(number)" }
    private var behind: String { "b\(number)" }
    private var memory: String { "m\(number)" }
    /// Comes, changes and goes.
    private var changing: String { "x\(number)" }

    func prepare(_ caller: inout DiskCaller) throws {
        try caller.setPolicy(through, .through, defaultTTL: 100_000)
        try caller.setPolicy(behind, .behind, defaultTTL: 100_000)
        try caller.setPolicy(memory, .memory, defaultTTL: 100_000)
        try caller.setPolicy(changing, .through, defaultTTL: 100_000)
    }

    private mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &generator) }

    private mutating func some(_ count: Int) -> [String] {
        Array(Self.keys.shuffled(using: &generator).prefix(count))
    }

    private mutating func value() -> String {
        written += 1
        switch below(8) {
        case 0: return DiskScript.text(generator.next(), 200 + below(12_000))
        case 1: return DiskScript.repeated("\(written) ", 300 + below(300))
        default: return "\"\(number)-\(written)\""
        }
    }

    private mutating func put() -> DiskCaller.Put {
        var put = DiskCaller.Put(value: value())
        put.tags = ["red", "blue"].filter { _ in below(3) == 0 }
        if below(3) == 0 { put.staleTTL = 90_000 }
        switch below(12) {
        case 0: put.ttl = "0.05"
        case 1: put.onlyIfAbsent = true
        case 2: put.onlyIfSame = true
        default: break
        }
        return put
    }

    /// One change, or a look.
    mutating func step(_ caller: inout DiskCaller) throws {
        let name = [through, through, through, behind, behind, memory, changing, changing][below(8)]
        let key = Self.keys[below(Self.keys.count)]
        switch below(100) {
        case 0..<30: try caller.put(name, key, put())
        case 30..<40: try caller.delete(name, key)
        case 40..<44: try caller.touch(name, key)
        case 44..<50: try caller.merge(name, "object", below(1000))
        case 50..<52: try caller.put(name, "object", .init(value: #"{"n":0}"#))
        case 52..<60: try caller.count(name, "counter", by: below(100))
        case 60..<64: try caller.batchSet(name, some(4).map { ($0, value()) })
        case 64..<66: try caller.batchSet(name, (0..<24).map { ("j/\($0)", value()) })
        case 66..<69: try caller.batchDelete(name, some(3))
        case 69..<72: try caller.invalidate(name, .keys(some(2)), stale: below(2) == 0)
        case 72..<76: try caller.invalidate(name, .tags(["red"]), stale: below(2) == 0)
        case 76..<79: try caller.invalidate(name, .prefix(["p/", "j/1"][below(2)]), stale: below(3) == 0)
        case 79..<80: try caller.invalidate(name, .all, stale: below(2) == 0)
        case 80..<84:
            let durability: ModelNamespace.Durability = [.memory, .behind, .through, .through][below(4)]
            try caller.setPolicy(changing, durability, defaultTTL: 1000 + below(100_000))
        case 84..<87: try caller.drop(changing)
        case 87..<90: try DiskScript.settle(&caller)
        default: try caller.look(name, key)
        }
    }
}

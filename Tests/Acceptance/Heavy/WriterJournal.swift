import PantlerModel
import Support
import Testing

/// One writer's keys: what it asked for, what it was answered, and so what may be found after the service was killed.
struct WriterJournal: Sendable {
    /// What a key was asked to be.
    struct Change: Sendable, CustomStringConvertible {
        /// The value as the service sends it; `nil` = deleted, or never there.
        var value: String?
        /// As far as it was answered.
        var version: Int?
        /// Monotonic; `nil` while it is not answered.
        var answeredAt: UInt64?

        var description: String {
            let what = value.map { "\($0.prefix(30)) of version \(version ?? 0)" } ?? "nothing"
            return answeredAt == nil ? what + ", unanswered" : what
        }
    }

    let namespace: String
    let durability: Durability
    /// Begins the writer's keys.
    let name: String
    /// The changes of each key since it was last looked at, what was found then at the front.
    private(set) var changes = Array(repeating: [Change(answeredAt: 0)], count: keyCount)
    /// The versions that it was answered since then, in their order.
    private(set) var versions: [Int] = []
    /// Answers that should have been others. Kept for `check`, since the writer's thread belongs to no test.
    private var complaints: [String] = []
    private var writes = 0

    /// Keys from `firstCounter` on are counters.
    private static let keyCount = 40
    private static let firstCounter = 30

    init(namespace: String, durability: Durability, name: String) {
        self.namespace = namespace
        self.durability = durability
        self.name = name
    }

    func target(_ view: String, _ key: Int) -> String { "\(namespace)/\(view)/\(name)-\(key)" }

    // MARK: Writing

    /// Writes until the service does not answer any more.
    mutating func write(
        _ http: HTTPClient,
        _ start: SeededGenerator,
        answered: Shared<Int>
    ) {
        var generator = start
        versions = []
        do {
            while true {
                try step(http, &generator)
                answered.update { $0 += 1 }
            }
        } catch {
            // The connection's end: what was asked last has no answer.
        }
    }

    private mutating func step(_ http: HTTPClient, _ generator: inout SeededGenerator) throws {
        let key = Int.random(in: 0..<Self.keyCount, using: &generator)
        let now = changes[key].last?.value
        let (entry, counter) = (target("entries", key), target("counters", key))
        if Int.random(in: 0..<5, using: &generator) == 0 {
            try change(key, to: nil, now == nil ? 404 : 204) { try http.delete(entry) }
        } else if key >= Self.firstCounter {
            let by = Int.random(in: 1...1000, using: &generator)
            try change(key, to: "\((now.flatMap { Int($0) } ?? 0) + by)", now == nil ? 201 : 200) {
                try http.post(counter, #"{"by":\#(by),"initial":0}"#)
            }
        } else {
            writes += 1
            // Some of them are deflated on disk.
            let padding = String(repeating: "\(generator.next())", count: Int.random(in: 1...120, using: &generator))
            let value = #""\#(name) \#(writes) \#(padding)""#
            try change(key, to: value, now == nil ? 201 : 200) {
                try http.put(entry, #"{"value":\#(value)}"#)
            }
        }
    }

    private mutating func change(
        _ key: Int,
        to value: String?,
        _ status: Int,
        _ ask: () throws -> Response
    ) throws {
        changes[key].append(Change(value: value))
        let response = try ask()
        let last = changes[key].count - 1
        changes[key][last].answeredAt = monotonicNanoseconds()
        guard response.status == status else { return complaints.append("\(name)-\(key) was answered \(response)") }
        guard value != nil else { return }
        guard let version = response.version else { return complaints.append("\(response) has no version") }
        changes[key][last].version = version
        versions.append(version)
    }

    // MARK: Looking after a crash

    /// Holds every key to what may be there, and begins anew with that.
    ///
    /// - Parameter committedBefore: what was answered before this moment the service had committed when it was killed, as it said; `nil` =
    ///   it stopped cleanly, and so has to have everything.
    /// - Returns: the versions of writes that were carried out and not answered.
    mutating func check(_ http: HTTPClient, committedBefore: UInt64?, _ context: String) throws -> [Int] {
        for complaint in complaints { Issue.record("\(complaint); \(context)") }
        complaints = []
        var unanswered: [Int] = []
        for key in changes.indices {
            let response = try http.get(target("values", key))
            let found = Change(
                value: response.status == 404 ? nil : response.text,
                version: response.etag.flatMap { Int($0.dropFirst().dropLast()) },
                answeredAt: 0
            )
            #expect([200, 404].contains(response.status), "\(response)")
            let possible = possible(key, committedBefore: committedBefore)
            let match = possible.last { change in
                change.value == found.value && (change.version == nil || change.version == found.version)
            }
            if match == nil {
                Issue.record("\(durability) \(name)-\(key) is \(found), and may only be one of \(possible); \(context)")
            } else if match?.version == nil, let version = found.version {
                unanswered.append(version)
            }
            changes[key] = [found]
        }
        return unanswered
    }

    /// How many changes were answered before a moment since the keys were last looked at.
    func answers(before moment: UInt64) -> Int {
        changes.joined().count { $0.answeredAt.map { $0 > 0 && $0 < moment } ?? false }
    }

    /// From the last change on that had to last. The one found before counts as such.
    private func possible(_ key: Int, committedBefore: UInt64?) -> ArraySlice<Change> {
        let last = changes[key].lastIndex { change in
            guard let answeredAt = change.answeredAt else { return false }
            guard durability == .behind, let committedBefore else { return true }
            return answeredAt < committedBefore
        }
        return changes[key][(last ?? 0)...]
    }
}

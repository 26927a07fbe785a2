import Glibc
import PantlerModel
import Support

/// One of the clients: draws what to ask, asks it, and writes down what it was answered and when.
struct HistoryClient: Sendable {
    static let keys = ["a/1", "a/2", "b/1", "c"]
    private static let prefixes = ["a/", "b/", "a/1", "c"]

    /// What the clients are about for a while.
    enum Phase {
        /// All kinds of call.
        case everything
        /// Mostly leases and fills, so that there are runs of them with few changes in between.
        case leases
        /// Many invalidations, and writes and fills that meet them.
        case invalidations
        /// Hardly a change, and time in between, so that leases run out.
        case quiet
    }

    /// A lease that it was given, whatever has become of it.
    private struct HeldLease {
        let key: Int
        let token: String
        let number: KeyOperation.Token
    }

    private let number: Int
    private let namespace: String
    private var generator: SeededGenerator
    /// Numbers its values and leases.
    private var drawn = 0
    /// The versions that it last saw of each key.
    private var versions: [[Int]] = Array(repeating: [], count: keys.count)
    private var held: [HeldLease] = []
    /// What it asked since it was last taken from it, for each key.
    private var histories: [[KeyOperation]] = Array(repeating: [], count: keys.count)
    private var tokens: [String] = []
    private var complaints: [String] = []

    init(_ number: Int, namespace: String, seed: UInt64) {
        self.number = number
        self.namespace = namespace
        generator = SeededGenerator(seed: seed &+ UInt64(number))
    }

    /// What a client wrote down.
    struct Record: Sendable {
        /// For each key.
        var histories: [[KeyOperation]]
        /// The tokens of all leases.
        var tokens: [String]
        /// Answers that fit no model.
        var complaints: [String]
    }

    /// Hands over what it wrote down since the last time.
    mutating func takeRecord() -> Record {
        defer {
            histories = Array(repeating: [], count: Self.keys.count)
            (tokens, complaints) = ([], [])
        }
        return Record(histories: histories, tokens: tokens, complaints: complaints)
    }

    // MARK: Drawing

    /// Asks the next thing.
    ///
    /// - Throws: where there is no answer.
    mutating func step(_ http: HTTPClient, _ phase: Phase) throws {
        switch phase {
        case .everything:
            switch below(100) {
            case 0..<18: try get(http)
            case 18..<32: try put(http, condition: nil)
            case 32..<40: try put(http, condition: condition())
            case 40..<46: try delete(http)
            case 46..<50: try batchGet(http)
            case 50..<54: try batchSet(http)
            case 54..<56: try batchDelete(http)
            case 56..<66: try invalidate(http, prefixes: 20)
            default: try useLeases(http, phase)
            }
        case .leases:
            switch below(100) {
            case 0..<12: try get(http)
            case 12..<14: try put(http, condition: nil)
            case 14..<18: try delete(http)
            case 18..<26: try invalidate(http, prefixes: 20)
            default: try useLeases(http, phase)
            }
        case .invalidations:
            switch below(100) {
            case 0..<15: try get(http)
            case 15..<25: try put(http, condition: nil)
            case 25..<40: try put(http, condition: condition())
            case 40..<65: try invalidate(http, prefixes: 60)
            default: try useLeases(http, phase)
            }
        case .quiet:
            usleep(UInt32(below(15_000)))
            switch below(100) {
            case 0..<40: try get(http)
            case 40..<41: try delete(http)
            case 41..<42: try invalidate(http, prefixes: 20)
            case 42..<46: try useHeld(http)
            case 46..<50: try batchLease(http)
            default: try lease(http, phase)
            }
        }
    }

    private mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &generator) }

    private mutating func chance(_ percent: Int) -> Bool { below(100) < percent }

    private mutating func key() -> Int { below(Self.keys.count) }

    private mutating func someKeys() -> [Int] {
        Array(Self.keys.indices.shuffled(using: &generator).prefix(2 + below(Self.keys.count - 1)))
    }

    private mutating func nextNumber() -> Int {
        drawn += 1
        return (number + 1) * 10_000_000 + drawn
    }

    private mutating func newPut(lease: KeyOperation.Token? = nil) -> KeyOperation.Put {
        let tags: TagSet = chance(50) ? [] : TagSet(rawValue: UInt8(below(8)))
        return KeyOperation.Put(value: nextNumber(), tags: tags, staysStale: chance(40), lease: lease)
    }

    private mutating func condition() -> KeyOperation.Condition {
        switch below(8) {
        case 0: .present
        case 1, 2: .absent
        default: .version(1)
        }
    }

    /// The condition with a version that was seen of this key, mostly the last one.
    private mutating func condition(_ condition: KeyOperation.Condition?, _ key: Int) -> KeyOperation.Condition? {
        guard case .version = condition else { return condition }
        let seen = versions[key]
        guard let last = seen.last, let any = seen.randomElement(using: &generator) else { return .absent }
        return .version(chance(80) ? last : any)
    }

    // MARK: Asking

    /// Asks, and writes down for each key what it was asked and answered.
    ///
    /// - Parameters:
    ///   - path: below the namespace.
    ///   - read: the answer for each of the calls; `nil` where it is none that could be.
    private mutating func ask(
        _ http: HTTPClient,
        _ calls: [(key: Int, call: KeyOperation.Call)],
        _ method: String,
        _ path: String,
        _ body: String? = nil,
        _ headers: [String: String] = [:],
        read: (Response) -> [KeyOperation.Answer?]
    ) throws {
        var headers = headers
        if body != nil { headers["Content-Type"] = "application/json" }
        var operations = calls.map { _, call in
            KeyOperation(client: number, call: call, invokedAt: monotonicNanoseconds())
        }
        defer { for (operation, (key, _)) in zip(operations, calls) { histories[key].append(operation) } }
        let response = try http.request(method, namespace + path, headers, body: body.map { Array($0.utf8)[...] })
        let answeredAt = monotonicNanoseconds()
        for (place, answer) in read(response).enumerated() {
            guard let answer else {
                complaints.append("\(operations[place].call) of \(Self.keys[calls[place].key]) -> \(response)")
                continue
            }
            operations[place].answer = answer
            operations[place].answeredAt = answeredAt
            note(answer, calls[place].key)
        }
    }

    private mutating func note(_ answer: KeyOperation.Answer, _ key: Int) {
        let version: Int? =
            switch answer {
            case .found(let sighting): sighting.version
            case .stored(let version, _): version
            case .mismatch(let version): version
            default: nil
            }
        guard let version, versions[key].last != version else { return }
        if versions[key].count == 4 { versions[key].removeFirst() }
        versions[key].append(version)
    }

    private static func entry(_ key: Int) -> String { "/entries/\(keys[key])" }

    private mutating func get(_ http: HTTPClient) throws {
        let key = key()
        try ask(http, [(key, .get)], "GET", Self.entry(key)) { response in
            switch response.status {
            case 200: [Self.sighting(response.json, isStale: response.detail == "stale").map { .found($0) }]
            case 404: [.missing]
            default: [nil]
            }
        }
    }

    private mutating func put(_ http: HTTPClient, condition wanted: KeyOperation.Condition?) throws {
        let key = key()
        var put = newPut()
        put.condition = condition(wanted, key)
        try self.put(http, key, put)
    }

    private mutating func put(
        _ http: HTTPClient,
        _ key: Int,
        _ put: KeyOperation.Put,
        token: String? = nil
    ) throws {
        var headers = Self.headers(put.condition)
        headers["Lease"] = token
        try ask(http, [(key, .put(put))], "PUT", Self.entry(key), "{\(Self.members(put))}", headers) { response in
            switch response.status {
            case 200, 201: [response.version.map { .stored(version: $0, replaced: response.status == 200) }]
            case 412: [Self.refusal(response)]
            default: [nil]
            }
        }
    }

    private mutating func delete(_ http: HTTPClient) throws {
        let key = key()
        let condition = condition(chance(30) ? .version(1) : nil, key)
        try ask(http, [(key, .delete(condition))], "DELETE", Self.entry(key), nil, Self.headers(condition)) {
            response in
            switch response.status {
            case 204: [.ended(wasThere: true)]
            case 404: [.ended(wasThere: false)]
            case 412: [Self.refusal(response)]
            default: [nil]
            }
        }
    }

    /// - Parameter prefixes: how many of a hundred are by prefix.
    private mutating func invalidate(_ http: HTTPClient, prefixes: Int) throws {
        let mode: KeyOperation.Mode = chance(50) ? .stale : .gone
        let what: (members: String, scope: KeyOperation.Scope, keys: [Int])
        switch chance(prefixes) ? nil : below(8) {
        case nil:
            let prefix = Self.prefixes[below(Self.prefixes.count)]
            let keys = Self.keys.indices.filter { Self.keys[$0].hasPrefix(prefix) }
            what = (#""prefix":"\#(prefix)""#, .prefix, keys)
        case 0, 1, 2:
            let keys = someKeys().dropLast()
            what = (#""keys":\#(Self.list(keys))"#, .key, Array(keys))
        case 3, 4, 5:
            let tags = TagSet(rawValue: UInt8(1 + below(7)))
            let names = tags.names.map(quoted).joined(separator: ",")
            what = (#""tags":[\#(names)]"#, .tags(tags), Array(Self.keys.indices))
        default: what = (#""all":true"#, .all, Array(Self.keys.indices))
        }
        let body = "{\(what.members)\(mode == .stale ? #","mode":"stale""# : "")}"
        try ask(http, what.keys.map { ($0, .invalidate(what.scope, mode)) }, "POST", "/invalidate", body) { response in
            guard response.status == 200 else { return what.keys.map { _ in nil } }
            let count = what.scope == .key ? response.json["invalidated"].int : nil
            return Self.ended(count, of: what.keys)
        }
    }

    // MARK: Batches

    private mutating func batchGet(_ http: HTTPClient) throws {
        let keys = someKeys()
        try ask(http, keys.map { ($0, .get) }, "POST", "/batch/get", #"{"keys":\#(Self.list(keys))}"#) { response in
            let found = response.json["entries"].array
            let missing = response.json["missing"].strings
            return keys.map { key in
                if missing.contains(Self.keys[key]) { return .missing }
                return Self.member(found, key).flatMap { Self.sighting($0, isStale: nil) }.map { .found($0) }
            }
        }
    }

    private mutating func batchSet(_ http: HTTPClient) throws {
        var puts: [(key: Int, put: KeyOperation.Put, token: String?)] = []
        for key in someKeys() {
            let lease = chance(50) ? held.last { $0.key == key } : nil
            puts.append((key, newPut(lease: lease?.number), lease?.token))
        }
        let bodies = puts.map { key, put, token in
            let lease = token.map { #","lease":"\#($0)""# } ?? ""
            return #"{"key":"\#(Self.keys[key])",\#(Self.members(put))\#(lease)}"#
        }
        try ask(
            http,
            puts.map { ($0.key, .put($0.put)) },
            "POST",
            "/batch/set",
            #"{"entries":[\#(bodies.joined(separator: ","))]}"#
        ) { response in
            let stored = response.json["entries"].array
            let errors = response.json["errors"].array
            return puts.map { key, put, _ in
                if let version = Self.member(stored, key)?["version"].int {
                    return .stored(version: version, replaced: nil)
                }
                return Self.member(errors, key)?["code"].string == "lease_lost" && put.lease != nil ? .lost : nil
            }
        }
    }

    private mutating func batchDelete(_ http: HTTPClient) throws {
        let keys = someKeys()
        try ask(http, keys.map { ($0, .delete(nil)) }, "POST", "/batch/delete", #"{"keys":\#(Self.list(keys))}"#) {
            response in
            guard let count = response.json["deleted"].int else { return keys.map { _ in nil } }
            return Self.ended(count, of: keys)
        }
    }

    // MARK: Leases

    private mutating func useLeases(_ http: HTTPClient, _ phase: Phase) throws {
        switch below(100) {
        case 0..<55: try lease(http, phase)
        case 55..<65: try batchLease(http)
        default: try useHeld(http)
        }
    }

    private mutating func lease(_ http: HTTPClient, _ phase: Phase) throws {
        let key = key()
        // The short ones may run out; the others last longer than the test.
        let isShort = chance(phase == .quiet ? 80 : 15)
        let ttl: UInt64 = isShort ? 100_000_000 : 300_000_000_000
        let wait = chance(15) ? Double(1 + below(30)) / 1000 : 0
        let lease = nextNumber()
        var given: String?
        try ask(
            http,
            [(key, .lease(ttl: ttl))],
            "POST",
            "/leases/\(Self.keys[key])",
            #"{"ttl":\#(isShort ? 0.1 : 300),"wait":\#(wait)}"#
        ) { response in
            let json = response.json
            switch response.status {
            case 200: return [Self.sighting(json, isStale: response.detail == "stale").map { .found($0) }]
            case 201:
                given = json["lease"]["token"].string
                return [Self.grant(json, lease)]
            case 409: return [Self.refusal(reason: json["reason"].string)]
            default: return [nil]
            }
        }
        guard let given else { return }
        hold(given, lease, key)
        if phase == .quiet, isShort, chance(50) {
            // Until about when the lease runs out.
            usleep(95_000 + UInt32(below(30_000)))
            try useHeld(http)
        } else if chance(60), let lease = held.last {
            try use(lease, of: key, http)
        }
    }

    private mutating func batchLease(_ http: HTTPClient) throws {
        let keys = someKeys()
        let numbers = keys.map { _ in nextNumber() }
        var given: [(token: String?, number: Int, key: Int)] = []
        try ask(
            http,
            keys.map { ($0, .lease(ttl: 300_000_000_000)) },
            "POST",
            "/batch/lease",
            #"{"keys":\#(Self.list(keys)),"ttl":300}"#
        ) { response in
            let json = response.json
            let (found, busy) = (json["entries"].array, json["busy"].array)
            return zip(keys, numbers).map { key, number in
                if let entry = Self.member(found, key) {
                    return Self.sighting(entry, isStale: nil).map { .found($0) }
                }
                if let lease = Self.member(json["leases"].array, key) {
                    given.append((lease["token"].string, number, key))
                    return lease["token"].isMissing ? nil : Self.grant(lease, number)
                }
                return Self.member(busy, key).flatMap { Self.refusal(reason: $0["reason"].string) }
            }
        }
        for (token, number, key) in given { hold(token, number, key) }
    }

    private mutating func hold(_ token: String?, _ number: KeyOperation.Token, _ key: Int) {
        guard let token else { return }
        tokens.append(token)
        if held.count == 8 { held.removeFirst() }
        held.append(HeldLease(key: key, token: token, number: number))
    }

    /// Fills, prolongs or gives up a lease that it was given, mostly the last one.
    private mutating func useHeld(_ http: HTTPClient) throws {
        guard let place = chance(70) ? held.indices.last : held.indices.randomElement(using: &generator) else {
            return try get(http)
        }
        let lease = held[place]
        try use(lease, of: chance(3) ? key() : lease.key, http)
    }

    private mutating func use(_ lease: HeldLease, of key: Int, _ http: HTTPClient) throws {
        switch below(100) {
        case 0..<70: try put(http, key, newPut(lease: lease.number), token: lease.token)
        case 70..<85: try prolong(http, key, lease)
        default: try giveUp(http, key, lease)
        }
        // What it does not forget, it uses again.
        if chance(70) { held.removeAll { $0.number == lease.number } }
    }

    private mutating func prolong(_ http: HTTPClient, _ key: Int, _ lease: HeldLease) throws {
        let isShort = chance(30)
        let ttl: UInt64 = isShort ? 100_000_000 : 300_000_000_000
        try ask(
            http,
            [(key, .prolong(lease.number, ttl: ttl))],
            "PATCH",
            "/leases/\(Self.keys[key])",
            #"{"ttl":\#(isShort ? 0.1 : 300)}"#,
            ["Lease": lease.token]
        ) { response in
            switch response.status {
            case 200: [.done]
            case 412: [Self.refusal(response)]
            default: [nil]
            }
        }
    }

    private mutating func giveUp(_ http: HTTPClient, _ key: Int, _ lease: HeldLease) throws {
        let hasFailed = chance(30)
        let call = KeyOperation.Call.release(lease.number, retryAfter: hasFailed ? 100_000_000 : nil)
        try ask(
            http,
            [(key, call)],
            "DELETE",
            "/leases/\(Self.keys[key])\(hasFailed ? "?retry_after=0.1" : "")",
            nil,
            ["Lease": lease.token]
        ) { response in
            switch response.status {
            case 204: [.done]
            case 412: [Self.refusal(response)]
            default: [nil]
            }
        }
    }

    // MARK: Words of the API

    private static func list(_ keys: some Sequence<Int>) -> String {
        "[\(keys.map { quoted(Self.keys[$0]) }.joined(separator: ","))]"
    }

    private static func members(_ put: KeyOperation.Put) -> String {
        var members = #""value":\#(put.value)"#
        if !put.tags.isEmpty { members += #","tags":[\#(put.tags.names.map(quoted).joined(separator: ","))]"# }
        if put.staysStale { members += #","stale_ttl":86400"# }
        return members
    }

    private static func headers(_ condition: KeyOperation.Condition?) -> [String: String] {
        switch condition {
        case nil: [:]
        case .version(let version): ["If-Match": "\"\(version)\""]
        case .present: ["If-Match": "*"]
        case .absent: ["If-None-Match": "*"]
        }
    }

    private static func member(_ items: [JSON], _ key: Int) -> JSON? {
        items.first { $0["key"].string == keys[key] }
    }

    private static func sighting(_ json: JSON, isStale: Bool?) -> KeyOperation.Sighting? {
        guard let value = json["value"].int, let version = json["version"].int else { return nil }
        return KeyOperation.Sighting(value: value, version: version, isStale: isStale)
    }

    private static func grant(_ json: JSON, _ number: KeyOperation.Token) -> KeyOperation.Answer? {
        let stale = json["stale_entry"]
        if stale.isMissing { return .granted(number, stale: nil) }
        return sighting(stale, isStale: true).map { .granted(number, stale: $0) }
    }

    private static func refusal(_ response: Response) -> KeyOperation.Answer? {
        switch response.code {
        case "version_mismatch": .mismatch(response.version)
        case "lease_lost": .lost
        default: nil
        }
    }

    private static func refusal(reason: String?) -> KeyOperation.Answer? {
        switch reason {
        case "filling": .filling
        case "failed": .failed
        default: nil
        }
    }

    /// The answers of a call that tells how many of these keys had an entry.
    private static func ended(_ count: Int?, of keys: [Int]) -> [KeyOperation.Answer?] {
        let wasThere: Bool? = count == 0 ? false : count == keys.count ? true : nil
        return keys.map { _ in .ended(wasThere: wasThere) }
    }
}

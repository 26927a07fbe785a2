import Support

/// A caller that keeps the model of what it was answered, and holds every later answer to it.
///
/// Each call of it is one request, or a few looks besides. It throws only where the service did not answer any more: the change that was asked for then
/// counts as unknown. What is wrong gathers in `complaints`, since the caller's thread belongs to no test.
struct DiskCaller {
    let http: HTTPClient
    var model: DiskModel
    private(set) var complaints: [String] = []
    /// The last request and its answer, for complaints.
    private var lastExchange = ""
    /// The latest requests for changes and what they were answered, for complaints about what a crash left.
    private(set) var history: [String]
    /// Answers that were 503 or 507.
    private(set) var refusals = 0
    private(set) var answers = 0
    /// How long the tier may take to be well again, in seconds; 0 = it will not be.
    var patience = 5.0

    init(_ http: HTTPClient, _ model: DiskModel = DiskModel(), history: [String] = []) {
        self.http = http
        self.model = model
        self.history = history
    }

    static func path(_ name: String) -> String { "/v1/namespaces/\(name)" }

    mutating func complain(_ what: String) {
        complaints.append("\(what); last: \(lastExchange)")
    }

    /// Complains of what is there under a name, with what was asked for there before.
    private mutating func complain(_ what: String, ofWhatIsAt name: String, _ key: String? = nil) {
        let concerned = history.filter { line in
            // A request of one other key has not touched this one.
            line.hasPrefix(" START") || line.contains(" \(name) ")
                || key.map { line.contains(" \(name)/\($0) ") } ?? line.contains(" \(name)/")
        }
        complaints.append(
            "\(what); last: \(lastExchange); before: \(concerned.suffix(14).joined(separator: " | "))"
        )
    }

    private mutating func remember(_ what: String, _ answer: String) {
        if history.count >= 1000 { history.removeFirst(500) }
        history.append("\(what) -> \(answer)")
    }

    // MARK: Asking

    /// What a failed answer's own words say of the change.
    private func outcome(ofFailed response: Response) -> Outcome {
        let detail = response.json["detail"].string ?? ""
        if detail.contains("holds in memory") { return .kept }
        return detail.contains("taken back") || detail.contains("nothing was changed") ? .takenBack : .unknown
    }

    /// Asks for a change, and has the model follow what became of it.
    ///
    /// - Parameters:
    ///   - expected: the statuses of an answer that is no failure of the disk.
    ///   - success: what such an answer means.
    ///   - record: notes the change in the model, with the response where there was one.
    private mutating func ask(
        _ what: String,
        _ expected: Set<Int>,
        _ success: Outcome,
        _ request: (HTTPClient) throws -> Response,
        record: (inout DiskModel, Outcome, Response?) -> Void
    ) throws -> Response {
        let response: Response
        do {
            response = try request(http)
        } catch {
            remember(what, "no answer")
            record(&model, .unknown, nil)
            throw error
        }
        answers += 1
        remember(
            what,
            "\(response.status) \(response.status < 300 ? response.version.map { "v\($0)" } ?? "" : response.text.suffix(60))"
        )
        lastExchange = "\(what) -> \(response.status) \(response.text.prefix(300))"
        if response.status == 503 || response.status == 507 {
            refusals += 1
            record(&model, outcome(ofFailed: response), response)
            return response
        }
        guard expected.contains(response.status) else {
            // The second word is the address.
            let address = what.split(separator: " ").dropFirst().first?.split(separator: "/", maxSplits: 1) ?? []
            complain(
                "\(what) was to be answered with one of \(expected.sorted())",
                ofWhatIsAt: address.first.map { String($0) } ?? "",
                address.count > 1 ? String(address[1]) : nil
            )
            record(&model, .unknown, response)
            return response
        }
        if success == .synced, Self.hasWritten(response) { model.noteSynced() }
        record(&model, success, response)
        return response
    }

    /// Whether something was written for an answer, and so synced with all that came before. For what was not there nothing need be.
    private static func hasWritten(_ response: Response) -> Bool {
        response.status < 300 && response.json["deleted"].int != 0 && response.json["invalidated"].int != 0
    }

    private mutating func note(_ response: Response, _ place: String) {
        guard response.status < 300, let version = response.version else { return }
        if let complaint = model.note(answered: version, place) { complain(complaint) }
    }

    // MARK: Namespaces

    /// Makes a namespace, or replaces its policy.
    mutating func setPolicy(
        _ name: String,
        _ durability: ModelNamespace.Durability,
        defaultTTL: Int,
        maxDisk: Int? = nil
    ) throws {
        let isNew = model.life(name) == 0
        var policy = #""durability":"\#(durability)","default_ttl":\#(defaultTTL)"#
        if let maxDisk { policy += #","max_disk":\#(maxDisk)"# }
        let before = model[name]
        let response = try ask("PUT \(name) {\(policy)}", isNew ? [201] : [200], .synced) {
            try $0.put(Self.path(name), "{\(policy)}")
        } record: { model, outcome, response in
            if isNew {
                var namespace = ModelNamespace(durability: durability, defaultTTL: defaultTTL)
                namespace.isBounded = maxDisk != nil
                namespace.createdAt = response?.json["created_at"].string
                model.make(name, namespace, outcome)
            } else {
                model[name].defaultTTL.change(to: defaultTTL, outcome)
                Self.change(&model[name], from: before.durability.now, to: durability, outcome)
            }
        }
        if response.status >= 300 { try look(name) }
    }

    /// A change of durability, with what it does to what is on disk.
    private static func change(
        _ namespace: inout ModelNamespace,
        from old: ModelNamespace.Durability?,
        to new: ModelNamespace.Durability,
        _ outcome: Outcome
    ) {
        namespace.durability.change(to: new, outcome)
        if old != .memory, new == .memory {
            // What was on disk is gone from there, and is in memory alone.
            for (key, possible) in namespace.entries {
                var possible = possible
                let now = possible.now
                possible.change(to: .none, outcome)
                possible.now = now
                namespace.entries[key] = possible
            }
        } else if old == .memory, new != .memory {
            // What is in memory comes to the disk some time after.
            for (key, possible) in namespace.entries {
                guard var now = possible.now else { continue }
                var possible = possible
                now.isRenewed = now.value != nil
                possible.change(to: now, .later)
                namespace.entries[key] = possible
            }
        }
    }

    mutating func drop(_ name: String) throws {
        let isThere = model.life(name) != 0
        let response = try ask("DELETE \(name) ", [isThere ? 204 : 404], .synced) {
            try $0.drop(Self.path(name))
        } record: { model, outcome, response in
            // There is none to be seen: of a drop that is kept and tried again this says nothing.
            if response?.status != 404 { model.drop(name, outcome) }
        }
        if response.status >= 300 { try look(name) }
    }

    /// Whether a namespace that was found is of this life: made at about that time, and with a TTL that it was given. Moments are told by the
    /// wall clock as it is at the time, and so may differ by a little.
    private func isLike(_ life: Int, _ response: Response) -> Bool {
        guard life != 0, let known = model.lives[life], let ttl = response.json["default_ttl"].int else { return false }
        let ttls = known.defaultTTL[.kill] + known.defaultTTL[.powerCut] + [known.defaultTTL.now].compactMap { $0 }
        guard ttls.contains(ttl) else { return false }
        guard let createdAt = known.createdAt.flatMap(Self.milliseconds),
            let found = response.json["created_at"].string.flatMap(Self.milliseconds)
        else { return true }
        return abs(createdAt - found) < 500
    }

    /// Of the day, of a moment of RFC 3339 with milliseconds.
    private static func milliseconds(_ moment: String) -> Int? {
        let parts = moment.dropLast().split(whereSeparator: { "T:.".contains($0) }).dropFirst().compactMap { Int($0) }
        return parts.count == 4 ? ((parts[0] * 60 + parts[1]) * 60 + parts[2]) * 1000 + parts[3] : nil
    }

    /// Learns which life of a namespace is there, and with which policy, after a change of it that may not have been made.
    private mutating func look(_ name: String) throws {
        let response = try http.get(Self.path(name))
        guard response.status == 200 else {
            if response.status != 404 { complain("GET \(name) -> \(response)") }
            if let now = model.names[name]?.now, now != 0 { complain("\(name) is gone, and was to stay") }
            return model.found(name, 0)
        }
        if model.names[name]?.now == .some(0) { complain("\(name) is there, and was to be gone") }
        let createdAt = response.json["created_at"].string
        let lives = Set(model.lives(name, after: .kill) + model.lives(name, after: .powerCut))
        guard let life = lives.sorted().last(where: { isLike($0, response) }) else {
            return complain("\(name) is of an unknown life: \(response.text)")
        }
        model.found(name, life)
        model[name].createdAt = createdAt
        if let found = response.json["durability"].string.flatMap(ModelNamespace.Durability.init) {
            if let now = model[name].durability.now, now != found { complain("\(name) is \(found), and was \(now)") }
            model[name].durability.found(found)
        }
        if let found = response.json["default_ttl"].int {
            if let now = model[name].defaultTTL.now, now != found { complain("\(name) has \(found), and had \(now)") }
            model[name].defaultTTL.found(found)
        }
        if let found = response.json["generation"].int { model[name].generation.found(found) }
        try lookAtUnknown(name)
    }

    // MARK: Entries

    struct Put {
        var value: String
        var tags: [String] = []
        /// In seconds, as text.
        var ttl: String?
        var staleTTL: Int?
        /// Conditions: to be sent, and to hold.
        var onlyIfAbsent = false
        var onlyIfSame = false
    }

    mutating func put(_ name: String, _ key: String, _ put: Put) throws {
        guard model.life(name) != 0 else { return }
        let now = model[name].now(key)
        var headers: [String: String] = [:]
        if put.onlyIfAbsent { headers["If-None-Match"] = "*" }
        if put.onlyIfSame {
            guard let version = now?.version, now?.isRenewed == false else { return }
            headers["If-Match"] = "\"\(version)\""
        }
        let holds = !put.onlyIfAbsent || now?.value == nil
        let isShort = put.ttl.map { $0.hasPrefix("0") } ?? false
        let entry = ModelEntry(
            value: put.value,
            tags: put.tags,
            staleTTL: put.staleTTL ?? 0,
            // It may be past its TTL, and handed out all the same.
            isStale: isShort ? nil : false,
            mayLeave: isShort
        )
        var body = #""value":\#(put.value)"#
        if !put.tags.isEmpty { body += #","tags":[\#(put.tags.map(quoted).joined(separator: ","))]"# }
        if let ttl = put.ttl { body += #","ttl":\#(ttl)"# }
        if let staleTTL = put.staleTTL { body += #","stale_ttl":\#(staleTTL)"# }
        var expected: Set<Int> = holds ? [now?.value == nil ? 201 : 200] : [412]
        if now == nil || now?.mayLeave == true { expected = [200, 201, 412] }
        let response = try ask("PUT \(name)/\(key) \(headers)", expected, model[name].success) {
            try $0.put("\(Self.path(name))/entries/\(key)", "{\(body)}", headers)
        } record: { model, outcome, response in
            if response?.status == 412 { return }
            var entry = entry
            entry.version = response?.version
            model[name].change(key, to: entry, outcome)
        }
        note(response, "\(name)/\(key)")
        try lookAfter(response, name, [key])
    }

    mutating func delete(_ name: String, _ key: String) throws {
        guard model.life(name) != 0 else { return }
        let now = model[name].now(key)
        var expected: Set<Int> = [now?.value == nil ? 404 : 204]
        // Something that cannot be seen may be on disk all the same: to delete it is a change like any other.
        let mayBeHidden =
            model[name].entries[key].map { !($0[.kill] + $0[.powerCut]).allSatisfy { $0.value == nil } } ?? false
        if now == nil || now?.mayLeave == true || mayBeHidden { expected = [204, 404] }
        let response = try ask("DELETE \(name)/\(key) ", expected, model[name].success) {
            try $0.delete("\(Self.path(name))/entries/\(key)")
        } record: { model, outcome, _ in
            // 404 says as much as 204 of what is there from now on.
            model[name].change(key, to: .none, outcome)
        }
        try lookAfter(response, name, [key])
    }

    /// Changes an entry that is there by what it is now. Does nothing where the model does not know what that is.
    private mutating func modify(
        _ what: String,
        _ name: String,
        _ key: String,
        whereAbsent: ModelEntry? = nil,
        _ request: (HTTPClient) throws -> Response,
        _ body: (ModelEntry) -> ModelEntry
    ) throws {
        guard model.life(name) != 0, let now = model[name].now(key), !now.mayLeave else { return }
        let changed = now.value == nil ? whereAbsent : body(now)
        let expected: Set<Int> = changed == nil ? [404] : now.value == nil ? [201] : [200]
        let response = try ask(what, expected, model[name].success, request) { model, outcome, response in
            guard var changed, response?.status != 404 else { return }
            changed.version = response?.version
            changed.isRenewed = false
            model[name].change(key, to: changed, outcome)
        }
        note(response, "\(name)/\(key)")
        try lookAfter(response, name, [key])
    }

    mutating func touch(_ name: String, _ key: String) throws {
        try modify("touch \(name)/\(key) ", name, key) {
            try $0.patch("\(Self.path(name))/entries/\(key)", #"{"ttl":900}"#)
        } _: { entry in
            var entry = entry
            if entry.isStale != false { entry.isStale = nil }
            return entry
        }
    }

    /// Merges a member into an object; does nothing to a value of another kind.
    mutating func merge(_ name: String, _ key: String, _ number: Int) throws {
        guard let now = model[name].now(key), now.value.map({ $0.hasPrefix(#"{"n":"#) }) ?? true else { return }
        try modify("merge \(name)/\(key) ", name, key) {
            try $0.patch("\(Self.path(name))/entries/\(key)", #"{"value":{"n":\#(number)}}"#)
        } _: { entry in
            var entry = entry
            entry.value = #"{"n":\#(number)}"#
            return entry
        }
    }

    /// Adds to a counter, or makes one; does nothing to a value of another kind.
    mutating func count(_ name: String, _ key: String, by number: Int) throws {
        guard let now = model[name].now(key) else { return }
        let base = now.value.map { Int($0) } ?? 0
        guard let base else { return }
        try modify(
            "count \(name)/\(key) by \(number)",
            name,
            key,
            whereAbsent: ModelEntry(value: "\(number)")
        ) {
            try $0.post("\(Self.path(name))/counters/\(key)", #"{"by":\#(number),"initial":0}"#)
        } _: { entry in
            var entry = entry
            entry.value = "\(base + number)"
            return entry
        }
    }

    // MARK: Many entries

    mutating func batchSet(_ name: String, _ entries: [(key: String, value: String)]) throws {
        guard model.life(name) != 0 else { return }
        let bodies = entries.map { #"{"key":\#(quoted($0)),"value":\#($1)}"# }
        let response = try ask("batch/set \(name) \(entries.map(\.key))", [200], model[name].success) {
            try $0.post("\(Self.path(name))/batch/set", #"{"entries":[\#(bodies.joined(separator: ","))]}"#)
        } record: { model, outcome, response in
            let versions = response?.json["entries"].array ?? []
            for (key, value) in entries {
                let version = versions.first { $0["key"].string == key }?["version"].int
                // An entry that failed has a code and no words of its own.
                let isRefused = response?.status == 200 && version == nil
                model[name].change(key, to: ModelEntry(value: value, version: version), isRefused ? .unknown : outcome)
            }
        }
        for answer in response.json["entries"].array {
            guard let key = answer["key"].string, let version = answer["version"].int else { continue }
            if let complaint = model.note(answered: version, "\(name)/\(key)") { complain(complaint) }
        }
        let errors = response.json["errors"].array
        refusals += errors.count
        for error in errors where !["storage_unavailable", "storage_full"].contains(error["code"].string) {
            complain("batch/set: \(error)")
        }
        if response.status != 200 || !errors.isEmpty { try lookAtUnknown(name) }
    }

    mutating func batchDelete(_ name: String, _ keys: [String]) throws {
        guard model.life(name) != 0 else { return }
        let response = try ask("batch/delete \(name) \(keys)", [200], model[name].success) {
            try $0.post("\(Self.path(name))/batch/delete", #"{"keys":[\#(keys.map(quoted).joined(separator: ","))]}"#)
        } record: { model, outcome, _ in
            // Of many, some may have been made although the answer is that of another.
            let outcome = outcome == .takenBack || outcome == .kept ? .unknown : outcome
            for key in keys { model[name].change(key, to: .none, outcome) }
        }
        if response.status != 200 { try lookAtUnknown(name) }
    }

    enum Invalidation {
        case keys([String])
        case tags([String])
        case prefix(String)
        case all

        var body: String {
            switch self {
            case .keys(let keys): #""keys":[\#(keys.map(quoted).joined(separator: ","))]"#
            case .tags(let tags): #""tags":[\#(tags.map(quoted).joined(separator: ","))]"#
            case .prefix(let prefix): #""prefix":\#(quoted(prefix))"#
            case .all: #""all":true"#
            }
        }

        /// By marks, which say nothing of single entries.
        var isMarked: Bool {
            switch self {
            case .keys, .prefix: false
            case .tags, .all: true
            }
        }

        func concerns(_ key: String, _ entry: ModelEntry) -> Bool {
            switch self {
            case .keys(let keys): keys.contains(key)
            case .tags(let tags): !entry.tags.allSatisfy { !tags.contains($0) }
            case .prefix(let prefix): key.hasPrefix(prefix)
            case .all: true
            }
        }
    }

    mutating func invalidate(_ name: String, _ what: Invalidation, stale: Bool = false) throws {
        guard model.life(name) != 0 else { return }
        let mode = stale ? #","mode":"stale""# : ""
        let response = try ask("invalidate \(name) {\(what.body)\(mode)}", [200], model[name].success) {
            try $0.post("\(Self.path(name))/invalidate", "{\(what.body)\(mode)}")
        } record: { model, outcome, response in
            var outcome = outcome
            if outcome == .takenBack || outcome == .kept, !what.isMarked { outcome = .unknown }
            // A prefix is walked over in the background.
            let isWalked = if case .prefix = what { true } else { false }
            model[name].changeAll(outcome, inBackground: isWalked) { key, entry in
                guard what.concerns(key, entry) else { return entry }
                return stale ? entry.stale(isMarked: what.isMarked) : .none
            }
            guard case .all = what else { return }
            // A namespace's record goes to disk even where its entries do not.
            if outcome == .inMemory { outcome = .later }
            model[name].generation.change(outcome) { $0 + 1 }
        }
        if response.status != 200 || (stale && !what.isMarked) { try lookAtUnknown(name) }
    }

    // MARK: Looking

    private mutating func lookAfter(_ response: Response, _ name: String, _ keys: [String]) throws {
        guard response.status >= 500 else { return }
        for key in keys { try look(name, key) }
    }

    /// Looks at the keys that the model is not sure of.
    private mutating func lookAtUnknown(_ name: String) throws {
        for (key, possible) in model[name].entries.sorted(by: { $0.key < $1.key }) {
            guard possible.now == nil || (possible.now?.value != nil && possible.now?.version == nil) else { continue }
            try look(name, key)
        }
        guard model.life(name) != 0, model[name].generation.now == nil else { return }
        if let generation = try http.get(Self.path(name)).json["generation"].int {
            model[name].generation.found(generation)
        }
    }

    /// What a get finds; `nil` where the service refuses to say.
    static func entry(_ http: HTTPClient, _ name: String, _ key: String) throws -> (ModelEntry?, Response) {
        let response = try http.get("\(path(name))/entries/\(key)")
        if response.status == 404 { return (ModelEntry.none, response) }
        guard response.status == 200 else { return (nil, response) }
        let text = response.text
        guard let start = text.firstRange(of: #""value":"#)?.upperBound,
            let end = text.ranges(of: #","version":"#).last?.lowerBound, start <= end
        else { return (nil, response) }
        let entry = ModelEntry(
            value: String(text[start..<end]),
            version: response.version,
            tags: response.json["tags"].strings,
            isStale: response.detail == "stale"
        )
        return (entry, response)
    }

    /// Holds a key to what it has to be now, and learns what it is where that is not known.
    mutating func look(_ name: String, _ key: String) throws {
        let (found, response) = try Self.entry(http, name, key)
        let exchange = lastExchange
        lastExchange += "; then GET -> \(response.status) \(response.text.prefix(120))"
        defer { lastExchange = exchange }
        guard let found else { return complain("GET \(name)/\(key) -> \(response)") }
        guard let possible = model[name].entries[key] else {
            if found.value != nil { complain("\(name)/\(key) is \(found), and was never written") }
            return
        }
        if let now = possible.now, now.value == nil || now.version != nil {
            if !now.isLike(found) {
                complain("\(name)/\(key) is \(found), and has to be \(now)", ofWhatIsAt: name, key)
            }
            return
        }
        let all = possible[.kill] + possible[.powerCut] + [possible.now].compactMap { $0 }
        guard var match = all.last(where: { $0.isLike(found) }) else {
            return complain("\(name)/\(key) is \(found), and may only be one of \(all)")
        }
        if let version = found.version, let complaint = model.note(found: version, "\(name)/\(key)") {
            complain(complaint)
        }
        if found.value == nil {
            match = .none
        } else {
            match.version = found.version
            match.note(isStale: found.isStale)
        }
        model[name].entries[key]?.found(match)
    }

    /// Holds all keys of all namespaces to what they have to be now.
    mutating func lookAtAll() throws {
        for name in model.presentNames {
            for key in model[name].entries.keys.sorted() { try look(name, key) }
        }
    }

    // MARK: After a crash

    /// Holds a service that has just been started on what a crash left to what may be there, and goes on from that.
    mutating func begin(after crash: FailingDisk.Crash) throws {
        lastExchange = "a start after a \(crash.rawValue)"
        remember(" START", "after a \(crash.rawValue)")
        for name in model.names.keys.sorted() {
            let response = try http.get(Self.path(name))
            let possible = model.lives(name, after: crash)
            if response.status == 404 {
                if !possible.contains(0) { complain("\(name) is not there", ofWhatIsAt: name) }
                model.begin(name, with: 0)
                continue
            }
            let life = possible.last { isLike($0, response) }
            guard response.status == 200, let life else {
                complain(
                    "\(name) may only be one of \(possible.map { "\($0) of \(model.lives[$0]?.createdAt ?? "any time")" }) and is \(response)",
                    ofWhatIsAt: name
                )
                model.begin(name, with: 0)
                continue
            }
            model.begin(name, with: life)
            try begin(name, response.json, after: crash)
        }
        model.forgetPastLives()
    }

    private mutating func begin(_ name: String, _ found: JSON, after crash: FailingDisk.Crash) throws {
        var namespace = model[name]
        namespace.createdAt = found["created_at"].string
        let durability = found["durability"].string.flatMap(ModelNamespace.Durability.init) ?? .memory
        if !namespace.durability[crash].contains(durability) {
            complain(
                "\(name) is \(durability), and may only be one of \(namespace.durability[crash])",
                ofWhatIsAt: name
            )
        }
        namespace.durability.begin(with: durability)
        let ttl = found["default_ttl"].int ?? -1
        if !namespace.defaultTTL[crash].contains(ttl) {
            complain(
                "\(name) has default_ttl \(ttl), and may only have one of \(namespace.defaultTTL[crash])",
                ofWhatIsAt: name
            )
        }
        namespace.defaultTTL.begin(with: ttl)
        let generation = found["generation"].int ?? -1
        if !namespace.generation[crash].contains(generation) {
            complain(
                "\(name) has generation \(generation), and may only have one of \(namespace.generation[crash])",
                ofWhatIsAt: name
            )
        }
        namespace.generation.begin(with: generation)
        var present: [String: Int] = [:]
        for (key, possible) in namespace.entries.sorted(by: { $0.key < $1.key }) {
            let (found, response) = try Self.entry(http, name, key)
            guard let found else {
                complain("GET \(name)/\(key) -> \(response)")
                continue
            }
            let all = possible[crash]
            if let version = found.version {
                present[key] = version
                if let complaint = model.note(found: version, "\(name)/\(key)") { complain(complaint) }
            }
            guard var match = all.last(where: { $0.isLike(found) }) else {
                complain("\(name)/\(key) is \(found), and may only be one of \(all)", ofWhatIsAt: name, key)
                namespace.entries[key]?.begin(with: found)
                continue
            }
            if found.value == nil {
                match = .none
            } else {
                match.version = found.version
                match.note(isStale: found.isStale)
                match.isRenewed = false
            }
            namespace.entries[key]?.begin(with: match)
        }
        model[name] = namespace
        try checkListing(name, present)
    }

    /// Holds a namespace's listing to the entries that are there.
    private mutating func checkListing(_ name: String, _ present: [String: Int]) throws {
        let page = try http.get("\(Self.path(name))/entries?limit=1000")
        guard page.status == 200 else { return complain("the listing of \(name) -> \(page)") }
        var listed: [String: Int] = [:]
        for row in page.json["entries"].array {
            if let key = row["key"].string { listed[key] = row["version"].int }
        }
        // What may leave by itself may do so in between.
        let mayLeave = Set(model[name].entries.filter { $0.value.now?.mayLeave ?? true }.keys)
        for key in Set(listed.keys).union(present.keys).subtracting(mayLeave) where listed[key] != present[key] {
            complain("\(name) lists \(key) as \(listed[key] ?? 0) and has it as \(present[key] ?? 0)")
        }
    }
}

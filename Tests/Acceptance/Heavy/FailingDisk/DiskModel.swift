import Support

/// How a change was answered, and so what it may have become.
enum Outcome {
    /// As asked, and synced: any crash leaves it.
    case synced
    /// As asked, and on disk some time later.
    case later
    /// As asked, and never on disk.
    case inMemory
    /// It failed, and says that the change holds in memory and is tried again.
    case kept
    /// It failed, and says that nothing was changed, or that the change was taken back.
    case takenBack
    /// It failed, and says nothing of that kind, or there was no answer: the change is there or is not.
    case unknown
}

/// A fact that changes, as it is now and as each kind of crash may leave it.
struct Possible<Value: Hashable & Sendable>: Sendable {
    /// What the running service has to show; `nil` = not known since a change that may have been made.
    var now: Value?
    /// Whether the latest change is tried again in the background, nobody knows until when.
    private var isTriedAgain = false
    private var afterKill: [Value]
    private var afterPowerCut: [Value]

    init(_ value: Value) {
        now = value
        afterKill = [value]
        afterPowerCut = [value]
    }

    subscript(crash: FailingDisk.Crash) -> [Value] {
        switch crash {
        case .kill: afterKill
        case .powerCut: afterPowerCut
        }
    }

    /// A change to what does not depend on what stood there.
    ///
    /// - Parameter nothing: what is left where what was taken back had taken the place of what was answered and not committed yet.
    mutating func change(to value: Value, _ outcome: Outcome, nothing: Value? = nil) {
        // What was not made, or may not have been, leaves what was tried again before.
        if outcome != .takenBack, outcome != .unknown { isTriedAgain = false }
        switch outcome {
        case .synced: self = Possible(value)
        case .later, .kept:
            now = value
            addAfterCrash([value], [value])
        case .inMemory: now = value
        case .takenBack:
            guard let nothing, afterKill != now.map({ [$0] }) else { break }
            now = nil
            addAfterCrash([nothing], [nothing])
        case .unknown:
            now = nil
            addAfterCrash([value], [value])
        }
    }

    /// Each stands there once, the latest at the end.
    private mutating func addAfterCrash(_ kill: [Value], _ powerCut: [Value]) {
        afterKill = afterKill.filter { !kill.contains($0) } + kill
        afterPowerCut = afterPowerCut.filter { !powerCut.contains($0) } + powerCut
    }

    /// A change that makes one thing of another: whatever stood there, a crash after it finds that changed.
    ///
    /// - Parameter inBackground: whether it is not in the queue where it is kept and tried again.
    mutating func change(_ outcome: Outcome, inBackground: Bool = false, _ body: (Value) -> Value) {
        if inBackground, outcome == .kept || outcome == .unknown, now.map(body) != now || now == nil {
            isTriedAgain = true
        }
        switch outcome {
        case .synced:
            now = now.map(body)
            afterKill = afterKill.map(body)
            afterPowerCut = afterPowerCut.map(body)
        case .later, .kept:
            now = now.map(body)
            addAfterCrash(afterKill.map(body), afterPowerCut.map(body))
        case .inMemory: now = now.map(body)
        case .takenBack: break
        case .unknown:
            now = nil
            addAfterCrash(afterKill.map(body), afterPowerCut.map(body))
        }
    }

    /// All that was answered is committed.
    mutating func noteCommitted() {
        if let now, !isTriedAgain { afterKill = [now] }
    }

    /// All that was committed is synced.
    mutating func noteSynced() { afterPowerCut = afterKill }

    /// It was looked at, and this is what is there.
    mutating func found(_ value: Value) {
        now = value
    }

    /// A service that came after a crash shows this.
    mutating func begin(with value: Value) {
        self = Possible(value)
    }
}

/// An entry as a caller sees it, or that there is none.
struct ModelEntry: Hashable, Sendable, CustomStringConvertible {
    /// As it is sent back; `nil` = nothing there.
    var value: String?
    /// `nil` = a version that no answer told.
    var version: Int?
    var tags: [String] = []
    var staleTTL = 0
    /// `nil` = either.
    var isStale: Bool? = false
    /// Whether it is renewed some time soon: it comes from memory alone to the disk, with a new version.
    var isRenewed = false
    /// Whether it may leave by itself: it has a short TTL, or its namespace a bound.
    var mayLeave = false

    static let none = ModelEntry()

    func isLike(_ found: ModelEntry) -> Bool {
        guard let value else { return found.value == nil }
        if found.value == nil { return mayLeave }
        return value == found.value && (isRenewed || version == nil || version == found.version) && tags == found.tags
            && (isStale == nil || isStale == found.isStale)
    }

    /// It was seen fresh, or stale. One with a short TTL that was seen fresh becomes stale all the same.
    mutating func note(isStale found: Bool?) {
        if isStale == nil, mayLeave, found == false { return }
        isStale = found
    }

    /// What a soft invalidation makes of it.
    ///
    /// - Parameter isMarked: by a mark, which leaves its version alone.
    func stale(isMarked: Bool) -> ModelEntry {
        guard value != nil, staleTTL > 0 else { return .none }
        var entry = self
        entry.isStale = true
        if !isMarked { entry.version = nil }
        return entry
    }

    var description: String {
        guard let value else { return "nothing" }
        let shown = value.utf8.count > 40 ? "\(value.prefix(40))… (\(value.utf8.count) bytes)" : value
        return "\(shown) v\(version.map(String.init) ?? "?")\(tags.isEmpty ? "" : " \(tags)")"
            + (isStale == true ? " stale" : "") + (mayLeave ? " or nothing" : "")
    }
}

/// One life of a namespace, from its making to its drop.
struct ModelNamespace: Sendable {
    enum Durability: String, Sendable { case memory, behind, through }

    /// Tells it from other lives of the same name; `nil` until it was seen.
    var createdAt: String?
    var durability: Possible<Durability>
    var defaultTTL: Possible<Int>
    /// How many flushes it has seen.
    var generation: Possible<Int>
    var entries: [String: Possible<ModelEntry>] = [:]
    /// Whether its entries may leave for want of room.
    var isBounded = false

    init(durability: Durability, defaultTTL: Int) {
        self.durability = Possible(durability)
        self.defaultTTL = Possible(defaultTTL)
        generation = Possible(0)
    }

    /// What a change of an entry in it is answered with, where all goes well.
    var success: Outcome {
        switch durability.now {
        case .through: .synced
        case .behind: .later
        case .memory: .inMemory
        case nil: .unknown
        }
    }

    func now(_ key: String) -> ModelEntry? { entries[key, default: Possible(.none)].now }

    mutating func change(_ key: String, to entry: ModelEntry, _ outcome: Outcome) {
        var entry = entry
        if isBounded { entry.mayLeave = true }
        entries[key, default: Possible(.none)].change(to: entry, outcome, nothing: ModelEntry.none)
    }

    mutating func changeAll(
        _ outcome: Outcome,
        inBackground: Bool = false,
        _ body: (String, ModelEntry) -> ModelEntry
    ) {
        for key in entries.keys { entries[key]?.change(outcome, inBackground: inBackground) { body(key, $0) } }
    }
}

/// What one caller has been answered, and so what has to be there: now, and after a crash of either kind.
struct DiskModel: Sendable {
    /// By name: the number of the life that stands there; 0 = none.
    private(set) var names: [String: Possible<Int>] = [:]
    private(set) var lives: [Int: ModelNamespace] = [:]
    private var nextLife = 1
    /// Every version that was answered or found, with where.
    private(set) var versions: [Int: String] = [:]
    private(set) var latestVersion = 0
    private var newVersions: [Int] = []

    // MARK: Namespaces

    /// The life that stands under a name now.
    func life(_ name: String) -> Int { names[name]?.now.flatMap { $0 } ?? 0 }

    subscript(name: String) -> ModelNamespace {
        get { lives[life(name)] ?? ModelNamespace(durability: .behind, defaultTTL: 0) }
        set { lives[life(name)] = newValue }
    }

    var presentNames: [String] { names.keys.filter { life($0) != 0 }.sorted() }

    mutating func make(_ name: String, _ namespace: ModelNamespace, _ outcome: Outcome) {
        lives[nextLife] = namespace
        names[name, default: Possible(0)].change(to: nextLife, outcome)
        nextLife += 1
    }

    mutating func drop(_ name: String, _ outcome: Outcome) {
        names[name, default: Possible(0)].change(to: 0, outcome)
    }

    /// The lives that a crash may leave under a name.
    func lives(_ name: String, after crash: FailingDisk.Crash) -> [Int] { names[name, default: Possible(0)][crash] }

    mutating func found(_ name: String, _ life: Int) { names[name, default: Possible(0)].found(life) }

    mutating func begin(_ name: String, with life: Int) { names[name, default: Possible(0)].begin(with: life) }

    /// Forgets lives that nothing leads to any more.
    mutating func forgetPastLives() {
        let known = Set(names.values.flatMap { $0[.kill] + $0[.powerCut] + [$0.now ?? 0] })
        lives = lives.filter { known.contains($0.key) }
    }

    // MARK: What is known of all

    /// The queue is empty and the tier is well: what was answered is committed, but for what is never on disk.
    mutating func noteCommitted() {
        for name in names.keys { names[name]?.noteCommitted() }
        for life in lives.keys where lives[life]?.durability.now != .memory {
            for key in lives[life]?.entries.keys.map({ $0 }) ?? [] { lives[life]?.entries[key]?.noteCommitted() }
            lives[life]?.durability.noteCommitted()
            lives[life]?.defaultTTL.noteCommitted()
            lives[life]?.generation.noteCommitted()
        }
    }

    /// A write was answered as synced, which came after all that is committed: there is one log.
    mutating func noteSynced() {
        for name in names.keys { names[name]?.noteSynced() }
        for life in lives.keys {
            for key in lives[life]?.entries.keys.map({ $0 }) ?? [] { lives[life]?.entries[key]?.noteSynced() }
            lives[life]?.durability.noteSynced()
            lives[life]?.defaultTTL.noteSynced()
            lives[life]?.generation.noteSynced()
        }
    }

    // MARK: Versions

    /// Takes a version that was answered; returns what is wrong with it.
    mutating func note(answered version: Int, _ place: String) -> String? {
        defer { latestVersion = max(latestVersion, version) }
        newVersions.append(version)
        if let other = versions.updateValue(place, forKey: version) {
            return "version \(version) of \(place) was \(other)'s"
        }
        return version > latestVersion ? nil : "version \(version) of \(place) is not above \(latestVersion)"
    }

    /// Takes a version that was found and never answered.
    mutating func note(found version: Int, _ place: String) -> String? {
        if let other = versions[version] {
            return other == place ? nil : "version \(version) found at \(place) was \(other)'s"
        }
        versions[version] = place
        newVersions.append(version)
        latestVersion = max(latestVersion, version)
        return nil
    }

    /// The next versions are to be above what others were given.
    mutating func raise(latest version: Int) { latestVersion = max(latestVersion, version) }

    /// The versions that came to be known since the last time.
    mutating func takeNewVersions() -> [Int] {
        defer { newVersions = [] }
        return newVersions
    }
}

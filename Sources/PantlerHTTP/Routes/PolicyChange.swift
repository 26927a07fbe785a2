import PantlerJSON
import PantlerModel

/// A policy as it comes in a body: which fields it names, and what each is to be.
///
/// A namespace as it was shown can be sent back: its `name`, `generation` and `created_at` may come along, and are not
/// written.
struct PolicyChange: Sendable {
    enum Form: Sendable {
        /// PUT: the whole policy. Null is taken only by fields that can be null.
        case whole
        /// PATCH (RFC 7396): null is the default, whatever the field.
        case patch
    }

    private enum Member: String, CaseIterable, Sendable {
        case name, generation, eviction, durability, compression
        case createdAt = "created_at"
        case defaultTTL = "default_ttl"
        case maxTTL = "max_ttl"
        case staleTTL = "stale_ttl"
        case negativeTTL = "negative_ttl"
        case ttlJitter = "ttl_jitter"
        case earlyRefresh = "early_refresh"
        case maxMemory = "max_memory"
        case maxEntries = "max_entries"
        case maxDisk = "max_disk"
        case maxValueSize = "max_value_size"
    }

    private enum CompressionMember: String, CaseIterable, Sendable {
        case threshold, level
    }

    /// Sets one field to its new value. It gets the policy, and the default one.
    private typealias Step = @Sendable (inout Policy, Policy) -> Void

    private var steps: [Step] = []

    /// - Throws: `policy_invalid` for a field that cannot have its value, `unknown_member`, or what is wrong with the JSON.
    init(_ body: UnsafeRawBufferPointer, name: NamespaceName, _ form: Form) throws(Problem) {
        let members = try Members(body, allowed: Member.allCases)
        try members.checkUnknown()
        try Self.checkShown(members, name)
        func element(_ member: Member) -> Field? { members[member].map { Field(member.rawValue, $0) } }
        try set(\.defaultTTL, element(.defaultTTL), form, nullable: true) { $0.seconds(atLeast: 0.001) }
        try set(\.maxTTL, element(.maxTTL), form, nullable: true) { $0.seconds(atLeast: 0.001) }
        try set(\.staleTTL, element(.staleTTL), form) { $0.seconds(atLeast: 0) }
        try set(\.negativeTTL, element(.negativeTTL), form) { $0.seconds(atLeast: 0.001) }
        try set(\.ttlJitter, element(.ttlJitter), form) { $0.number(0...1) }
        try set(\.earlyRefresh, element(.earlyRefresh), form) { $0.number(0...10) }
        try set(\.maxMemory, element(.maxMemory), form, nullable: true) { $0.integer(1...Limits.maxSafeInteger) }
        try set(\.maxEntries, element(.maxEntries), form, nullable: true) { $0.integer(1...Limits.maxSafeInteger) }
        try set(\.maxDisk, element(.maxDisk), form, nullable: true) { $0.integer(1...Limits.maxSafeInteger) }
        try set(\.maxValueSize, element(.maxValueSize), form) { $0.integer(1...Limits.valueBytes) }
        try set(\.eviction, element(.eviction), form) { $0.name(Eviction.self) }
        try set(\.durability, element(.durability), form) { $0.name(Durability.self) }
        if let compression = members[.compression] { try setCompression(compression, form) }
    }

    /// The policy as it is after the change.
    func applied(to policy: Policy, defaults: Policy) -> Policy {
        var policy = policy
        for step in steps { step(&policy, defaults) }
        return policy
    }

    private mutating func setCompression(_ element: JSONElement, _ form: Form) throws(Problem) {
        if element.type == .null, form == .patch {
            steps.append { policy, defaults in
                policy.compressionThreshold = defaults.compressionThreshold
                policy.compressionLevel = defaults.compressionLevel
            }
            return
        }
        guard element.type == .object else { throw Field("compression", element).refused("an object") }
        let members = try Members(element.bytes, allowed: CompressionMember.allCases)
        try members.checkUnknown()
        let threshold = members[.threshold].map { Field("compression.threshold", $0) }
        try set(\.compressionThreshold, threshold, form) { $0.integer(0...Limits.maxSafeInteger) }
        let level = members[.level].map { Field("compression.level", $0) }
        try set(\.compressionLevel, level, form) { field in
            field.integer(0...9).map { Int($0) }
        }
    }

    private mutating func set<Value: Sendable>(
        _ path: any WritableKeyPath<Policy, Value> & Sendable,
        _ field: Field?,
        _ form: Form,
        _ read: (Field) -> Result<Value, Problem>
    ) throws(Problem) {
        guard let field else { return }
        if field.isNull, form == .patch {
            steps.append { policy, defaults in policy[keyPath: path] = defaults[keyPath: path] }
        } else {
            let value = try read(field).get()
            steps.append { policy, _ in policy[keyPath: path] = value }
        }
    }

    /// Sets a field that can be null.
    private mutating func set<Value: Sendable>(
        _ path: any WritableKeyPath<Policy, Value?> & Sendable,
        _ field: Field?,
        _ form: Form,
        nullable: Bool,
        _ read: (Field) -> Result<Value, Problem>
    ) throws(Problem) {
        try set(path, field, form) { field in field.isNull && nullable ? .success(nil) : read(field).map { $0 } }
    }

    /// Checks the members that are shown beside the policy and may be sent back: they have to fit this namespace.
    private static func checkShown(_ members: Members<Member>, _ name: NamespaceName) throws(Problem) {
        if let element = members[.name] {
            let text = element.type == .string ? try? JSON.string(element.bytes) : nil
            guard text == name.description else {
                throw Field("name", element).refused("the namespace's own, \(Problem.quoted(name.description))")
            }
        }
        if let element = members[.generation], (element.safeInteger ?? -1) < 0 {
            throw Field("generation", element).refused("an integer of at least 0")
        }
        if let element = members[.createdAt] {
            let text = element.type == .string ? try? JSON.stringBytes(element.bytes) : nil
            guard let text, text.withUnsafeBytes({ RFC3339.parse($0) }) != nil else {
                throw Field("created_at", element).refused("a moment as in RFC 3339")
            }
        }
    }
}

/// One member of a policy, to be read as what its field is.
private struct Field {
    let name: String
    let element: JSONElement

    init(_ name: String, _ element: JSONElement) {
        self.name = name
        self.element = element
    }

    var isNull: Bool { element.type == .null }

    func seconds(atLeast least: Double) -> Result<Int64, Problem> {
        if let milliseconds = Seconds.milliseconds(element.bytes, atLeast: least) { return .success(milliseconds) }
        return .failure(refused("seconds, at least \(least == 0 ? "0" : "0.001") and at most 3153600000"))
    }

    func number(_ range: ClosedRange<Int>) -> Result<Double, Problem> {
        if element.type == .number, let value = JSON.number(element.bytes),
            (Double(range.lowerBound)...Double(range.upperBound)).contains(value)
        {
            return .success(value)
        }
        return .failure(refused("a number from \(range.lowerBound) to \(range.upperBound)"))
    }

    func integer(_ range: ClosedRange<Int64>) -> Result<Int64, Problem> {
        if let value = element.safeInteger, range.contains(value) { return .success(value) }
        let last = range.upperBound == Limits.maxSafeInteger ? "2^53 - 1" : "\(range.upperBound)"
        return .failure(refused("an integer from \(range.lowerBound) to \(last)"))
    }

    func name<Name: RawRepresentable & CaseIterable>(_ type: Name.Type) -> Result<Name, Problem>
    where Name.RawValue == String {
        let text = element.type == .string ? try? JSON.string(element.bytes) : nil
        if let text, let value = Name(rawValue: text) { return .success(value) }
        return .failure(refused(Name.allCases.map(\.rawValue).joined(separator: ", ")))
    }

    func refused(_ allowed: String) -> Problem {
        let came = Problem.quoted(String(decoding: element.bytes.prefix(400), as: UTF8.self))
        return Problem(.policyInvalid, "The policy's '\(name)' is \(came); allowed: \(allowed).")
    }
}

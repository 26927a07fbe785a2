internal import NIOCore
import PantlerJSON
import PantlerModel
import PantlerStore

// The JSON envelope of an entry: a value with its TTL, its stale TTL and its tags. The value's bytes are kept as they came. A negative entry
// has `"absent":true` in place of the value.

extension Put {
    /// - Throws: what is wrong with the body; first what keeps it from being read (400), then what it says (422).
    init(envelope body: UnsafeRawBufferPointer, now: WallTime) throws(Problem) {
        try self.init(Members(body, allowed: EnvelopeMember.ofPut), now: now)
    }

    /// A null counts as a member that is not there, since serialisers write their fields' nulls. There are two exceptions: a null `value`
    /// is a value where there is no `value_base64` and nothing is said to be absent, and a null `ttl` or `expires_at` means never where the other one says nothing.
    ///
    /// - Parameter members: those of a put, or of a batch's entry whose key has been looked at.
    init(_ members: Members<EnvelopeMember>, now: WallTime) throws(Problem) {
        let lifetime = try Lifetime(members, now: now) ?? .byPolicy
        try members.checkUnknown()
        if try Self.isAbsent(members) {
            self.init(value: [], kind: .absent, lifetime: lifetime, tags: try Self.tags(members))
            return
        }
        let value: [UInt8]
        let kind: ValueKind
        let text = members[.valueBase64].unlessNull
        let type = members[.contentType].unlessNull
        switch (text == nil ? members[.value] : members[.value].unlessNull, text) {
        case (nil, nil):
            throw Problem(.missingMember, "An entry needs 'value', or 'value_base64' with its 'content_type'.")
        case (.some, .some):
            throw Problem(.memberInvalid, "An entry takes 'value' or 'value_base64', not both.")
        case (let json?, nil):
            if type != nil {
                throw Problem(.memberInvalid, "'content_type' goes with 'value_base64'; 'value' is JSON.")
            }
            value = Array(json.bytes)
            kind = .json
        case (nil, let text?):
            value = try Self.bytes(text)
            let mediaType = try Self.mediaType(type)
            kind = MediaType.essence(mediaType) == MediaType.json ? .json : .bytes(mediaType: mediaType)
            if kind == .json { try Self.checkJSON(value) }
        }
        let staleTTL = try members[.staleTTL].unlessNull.map { element throws(Problem) in
            try Seconds.staleTTL(element.bytes)
        }
        let tags = try Self.tags(members)
        self.init(value: value, kind: kind, lifetime: lifetime, staleTTL: staleTTL, tags: tags)
    }

    /// Whether the envelope is a negative entry's, which has neither a value nor a stale TTL. A false counts as a member that is not there.
    private static func isAbsent(_ members: Members<EnvelopeMember>) throws(Problem) -> Bool {
        guard let element = members[.absent].unlessNull, element.type != .false else { return false }
        guard element.type == .true else { throw Problem(.memberInvalid, "'absent' takes true or false.") }
        for member in [EnvelopeMember.value, .valueBase64, .contentType, .staleTTL]
        where members[member].unlessNull != nil {
            throw Problem(.memberInvalid, "A negative entry ('absent') takes no '\(member.rawValue)'.")
        }
        return true
    }

    private static func tags(_ members: Members<EnvelopeMember>) throws(Problem) -> [EntryTag] {
        try members[.tags].unlessNull.map { element throws(Problem) in try Tags.read(element) } ?? []
    }

    private static func bytes(_ element: JSONElement) throws(Problem) -> [UInt8] {
        guard element.type == .string, let text = try? JSON.stringBytes(element.bytes),
            let bytes = text.withUnsafeBytes({ Base64.decode($0) })
        else {
            throw Problem(
                .memberInvalid,
                "'value_base64' takes a string in base64 (RFC 4648, section 4), with padding."
            )
        }
        return bytes
    }

    /// Bytes that are said to be JSON are an entry's JSON value, as in the view of plain bytes.
    private static func checkJSON(_ value: [UInt8]) throws(Problem) {
        do {
            try JSON.validate(value, maxDepth: Limits.jsonDepth)
        } catch {
            throw Problem(.memberInvalid, "'value_base64' is said to be application/json, and is not: \(error)")
        }
    }

    private static func mediaType(_ element: JSONElement?) throws(Problem) -> String {
        guard let element else { return MediaType.bytes }
        guard element.type == .string, let text = try? JSON.string(element.bytes), MediaType.isValid(text) else {
            throw Problem(.memberInvalid, "'content_type' takes a media type such as image/png, of 3 to 255 bytes.")
        }
        return text
    }
}

/// The merge patch on an envelope (RFC 7396).
struct PatchEnvelope: Sendable {
    var patch: Patch

    /// Throws as `Put.init(envelope:now:)` does.
    init(_ body: UnsafeRawBufferPointer, now: WallTime) throws(Problem) {
        let members = try Members(body, allowed: EnvelopeMember.ofPatch)
        patch = Patch(lifetime: try Lifetime(members, now: now))
        try members.checkUnknown()
        patch.value = members[.value].map { Array($0.bytes) }
        if let element = members[.staleTTL] {
            patch.staleTTL = element.type == .null ? .byPolicy : .milliseconds(try Seconds.staleTTL(element.bytes))
        }
        if let element = members[.tags] {
            patch.tags = element.type == .null ? [] : try Tags.read(element)
        }
    }
}

/// What an envelope may hold.
enum EnvelopeMember: String, CaseIterable, Sendable {
    case key, value
    case valueBase64 = "value_base64"
    case contentType = "content_type"
    case ttl
    case expiresAt = "expires_at"
    case staleTTL = "stale_ttl"
    case tags, absent
    /// A lease's token.
    case lease

    static let ofPut: [Self] = [.value, .valueBase64, .contentType, .ttl, .expiresAt, .staleTTL, .tags, .absent]
    static let ofPatch: [Self] = [.value, .ttl, .expiresAt, .staleTTL, .tags]
    static let ofBatch: [Self] = ofPut + [.key, .lease]
}

extension Lifetime {
    /// What `ttl` and `expires_at` say together; `nil` where neither is there.
    ///
    /// - Throws: `ttl_conflict`, `ttl_invalid`, `expires_at_invalid`.
    fileprivate init?(_ members: Members<EnvelopeMember>, now: WallTime) throws(Problem) {
        switch (members[.ttl].unlessNull, members[.expiresAt].unlessNull) {
        case (nil, nil):
            if members[.ttl] == nil, members[.expiresAt] == nil { return nil }
            self = .never
        case (.some, .some): throw .ttlConflict
        case (let ttl?, nil): self = .milliseconds(try Seconds.ttl(ttl.bytes))
        case (nil, let moment?):
            guard moment.type == .string, let text = try? JSON.stringBytes(moment.bytes) else {
                throw Problem(.expiresAtInvalid, "'expires_at' takes a string (RFC 3339), or null for never.")
            }
            self = try .until(Expiry.read(text, now: now))
        }
    }
}

extension JSONElement? {
    /// The element; `nil` for a JSON null, too.
    var unlessNull: JSONElement? { self?.type == .null ? nil : self }
}

extension Problem {
    static let ttlConflict = Problem(.ttlConflict, "An entry takes 'ttl' or 'expires_at', not both.")
}

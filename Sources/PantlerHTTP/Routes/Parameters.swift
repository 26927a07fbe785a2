import PantlerJSON
import PantlerModel
import PantlerStore

// Values that bodies, queries and headers write in the same form: durations, moments, tags, integers.

/// Durations: decimal seconds outside, milliseconds inside.
enum Seconds {
    /// A TTL as a member: seconds, or null for never. Throws `ttl_invalid`.
    static func lifetime(_ element: JSONElement) throws(Problem) -> Lifetime {
        element.type == .null ? .never : .milliseconds(try ttl(element.bytes))
    }

    /// A TTL, of at least a millisecond and at most 100 years. Throws `ttl_invalid`.
    static func ttl(_ literal: UnsafeRawBufferPointer) throws(Problem) -> Int64 {
        guard let milliseconds = milliseconds(literal, atLeast: 0.001) else {
            throw Problem(
                .ttlInvalid,
                "The TTL \(shown(literal)) is out of range: seconds, at least 0.001 and at most \(limit), or null for never."
            )
        }
        return milliseconds
    }

    /// A stale TTL, up to 100 years. Throws `ttl_invalid`.
    static func staleTTL(_ literal: UnsafeRawBufferPointer) throws(Problem) -> Int64 {
        guard let milliseconds = milliseconds(literal, atLeast: 0) else {
            throw Problem(
                .ttlInvalid,
                "The stale TTL \(shown(literal)) is out of range: seconds, at least 0 and at most \(limit)."
            )
        }
        return milliseconds
    }

    /// The longest duration, in seconds.
    private static let limit = Limits.ttlMilliseconds / 1000

    /// - Returns: `nil` if it is no JSON number, or out of range before it is rounded.
    static func milliseconds(_ literal: UnsafeRawBufferPointer, atLeast least: Double) -> Int64? {
        // Nearly all that come are whole seconds.
        if let seconds = JSON.integer(literal) {
            return Double(seconds) >= least && seconds <= limit ? seconds * 1000 : nil
        }
        guard let seconds = JSON.number(literal), seconds >= least, seconds <= Double(limit) else { return nil }
        switch JSON.milliseconds(fromSeconds: literal) {
        case .milliseconds(let milliseconds): return milliseconds
        case .zero: return 0
        case .negative, .tooLarge, .notANumber: return nil
        }
    }

    private static func shown(_ literal: UnsafeRawBufferPointer) -> String {
        Problem.quoted(String(decoding: literal.prefix(400), as: UTF8.self))
    }
}

/// When an entry is to expire.
enum Expiry {
    /// A moment to come. Throws `expires_at_invalid`.
    static func read(_ text: [UInt8], now: WallTime) throws(Problem) -> WallTime {
        guard let moment = text.withUnsafeBytes({ RFC3339.parse($0) }) else {
            let shown = Problem.quoted(String(decoding: text.prefix(400), as: UTF8.self))
            throw Problem(
                .expiresAtInvalid,
                "'expires_at' is \(shown); it takes a moment as in RFC 3339, like 2099-11-24T15:49:00Z."
            )
        }
        guard moment > now else {
            throw Problem(
                .expiresAtInvalid,
                "'expires_at' is \(RFC3339.string(moment)), and now it is \(RFC3339.string(now)): it takes a moment to come."
            )
        }
        return moment
    }
}

/// Labels of entries.
enum Tags {
    /// An array of strings. Throws `tags_invalid`.
    static func read(_ element: JSONElement) throws(Problem) -> [EntryTag] {
        var tags: [EntryTag] = []
        do {
            guard element.type == .array else { throw Problem(.tagsInvalid, "'tags' takes an array of strings.") }
            var reader = try JSONArrayReader(element.bytes, maxDepth: Limits.jsonDepth)
            while let tag = try reader.next() {
                guard tag.type == .string else { throw Problem(.tagsInvalid, "A tag is a string.") }
                if tags.count <= Limits.tagsPerEntry { tags.append(EntryTag(try JSON.string(tag.bytes))) }
            }
        } catch let problem as Problem {
            throw problem
        } catch {
            throw Problem(.tagsInvalid, "A tag is a string of UTF-8.")
        }
        try check(tags)
        return tags
    }

    /// The fields of `Cache-Tag`: tags with commas between them. Throws `tags_invalid`.
    static func read(_ fields: [String]) throws(Problem) -> [EntryTag] {
        var tags: [EntryTag] = []
        for field in fields {
            guard field.utf8.allSatisfy({ (0x20...0x7e).contains($0) || $0 == 0x09 }) else {
                throw Problem(.tagsInvalid, "'Cache-Tag' takes tags of ASCII; others go into an entry's envelope.")
            }
            for tag in field.split(separator: ",").map(trimmed) where !tag.isEmpty {
                tags.append(EntryTag(String(tag)))
            }
        }
        try check(tags)
        return tags
    }

    private static func check(_ tags: [EntryTag]) throws(Problem) {
        if tags.count > Limits.tagsPerEntry {
            throw Problem(.tagsInvalid, "There are more than \(Limits.tagsPerEntry) tags, which is the most.")
        }
        for tag in tags where !tag.isInForm {
            let bytes = "1 to \(Limits.tagBytes) bytes of UTF-8"
            throw Problem(
                .tagsInvalid,
                "A tag has \(bytes) and no NUL; \(Problem.quoted(tag.text)) has \(tag.byteCount)."
            )
        }
    }
}

extension JSONElement {
    /// The element as an integer within ±(2^53 - 1), however it is written; `nil` for anything else.
    var safeInteger: Int64? {
        guard type == .number else { return nil }
        let value = JSON.integer(bytes) ?? JSON.exactInteger(bytes)
        return value.flatMap { $0.magnitude <= Limits.maxSafeInteger.magnitude ? $0 : nil }
    }
}

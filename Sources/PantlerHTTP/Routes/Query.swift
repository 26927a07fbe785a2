import PantlerModel

/// The parameters that any call takes in its query.
enum QueryName: String, CaseIterable, Sendable {
    case key, peek, miss, ttl
    case expiresAt = "expires_at"
    case staleTTL = "stale_ttl"
    case prefix, limit, cursor, confirm
    case retryAfter = "retry_after"
}

/// A query, decoded and strictly checked: a parameter that the call does not take, or that comes twice, is refused, so that a slip of the
/// pen is not taken for a default. A `+` is a space, as the query builders of all languages write it; a plus is `%2B`.
struct Query: Sendable {
    private var values: [QueryName: [UInt8]] = [:]

    /// - Parameters:
    ///   - text: what stands behind the `?`, still encoded; `nil` where there is none.
    ///   - allowed: the parameters that the call takes.
    /// - Throws: `query_invalid`; `key_invalid` for a key that cannot be decoded.
    init(_ text: UnsafeRawBufferPointer?, allowed: Set<QueryName>) throws(Problem) {
        guard let text else { return }
        for piece in text.split(separator: UInt8(ascii: "&")) {
            let sign = piece.firstIndex(of: UInt8(ascii: "=")) ?? piece.endIndex
            let name = PercentDecoding.decode(UnsafeRawBufferPointer(rebasing: piece[..<sign]), plusIsSpace: true)
            guard let name, let known = QueryName(rawValue: String(decoding: name, as: UTF8.self)),
                allowed.contains(known)
            else {
                let shown = String(decoding: name ?? Array(piece[..<sign]), as: UTF8.self)
                throw Problem(.queryInvalid, "There is no query parameter \(Problem.quoted(shown)) here.")
            }
            let encoded = UnsafeRawBufferPointer(rebasing: piece[sign...].dropFirst())
            guard let value = PercentDecoding.decode(encoded, plusIsSpace: true) else {
                throw Problem(
                    known == .key ? .keyInvalid : .queryInvalid,
                    "The query parameter '\(known.rawValue)' has a '%' without two hexadecimal digits."
                )
            }
            guard values.updateValue(value, forKey: known) == nil else {
                throw Problem(.queryInvalid, "The query parameter '\(known.rawValue)' is there twice.")
            }
        }
    }

    subscript(_ name: QueryName) -> [UInt8]? { values[name] }

    /// Whether the get is to leave no trace, or a request for a lease is no get. Throws `query_invalid`.
    func peek() throws(Problem) -> Bool {
        guard let value = self[.peek] else { return false }
        let text = String(decoding: value, as: UTF8.self)
        switch text {
        case "", "true": return true
        case "false": return false
        default:
            throw Problem(
                .queryInvalid,
                "'peek' is \(Problem.quoted(text)); it takes 'true', 'false', or no value at all."
            )
        }
    }

    /// The status that a miss is answered with: 404, or 204 for callers whose libraries raise on 404. Throws `query_invalid`.
    func missStatus() throws(Problem) -> Int {
        guard let value = self[.miss] else { return 404 }
        let text = String(decoding: value, as: UTF8.self)
        switch text {
        case "204": return 204
        case "404": return 404
        default: throw Problem(.queryInvalid, "'miss' is \(Problem.quoted(text)); it takes '204' or '404'.")
        }
    }

    /// The most rows of a page; 100 where the query does not say. Throws `limit_invalid`.
    func limit() throws(Problem) -> Int {
        guard let value = self[.limit] else { return 100 }
        let text = String(decoding: value, as: UTF8.self)
        guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let limit = Int(text),
            (1...1000).contains(limit)
        else { throw Problem(.limitInvalid, "The limit \(Problem.quoted(text)) is out of range: 1 to 1000.") }
        return limit
    }

    /// The prefix of the keys to list. Throws `key_too_long`, `key_invalid`.
    func prefix() throws(Problem) -> [UInt8] {
        let prefix = self[.prefix] ?? []
        try KeyForm.checkPrefix(prefix)
        return prefix
    }
}

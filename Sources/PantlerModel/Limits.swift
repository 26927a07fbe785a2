/// Fixed limits of the words themselves. Limits that an operator may set stand in the configuration.
package enum Limits {
    /// Longest key, in bytes of UTF-8; the shortest is 1.
    package static let keyBytes = 1024
    /// Longest namespace name, in bytes.
    package static let namespaceNameBytes = 63
    /// Longest tag, in bytes of UTF-8; the shortest is 1.
    package static let tagBytes = 255
    /// Largest value that a namespace may take, in bytes: SQLite holds rows of up to 10^9 (SQLITE_MAX_LENGTH), with all that stands
    /// beside the value.
    package static let valueBytes: Int64 = 900 << 20
    /// Largest body that a server may take, in bytes: well within what one buffer counts, whatever a body becomes on its way.
    package static let bodyBytes: Int64 = 1 << 30
    /// Most namespaces of a server: the memory tier tells them apart by 14 bits.
    package static let namespaces = 1 << 14
    /// Most tags on one entry.
    package static let tagsPerEntry = 64
    /// Longest media type of a value of bytes, in bytes.
    package static let mediaTypeBytes = 255
    /// Most keys or entries in one batch.
    package static let batchKeys = 1000
    /// Deepest nesting of arrays and objects in a JSON value.
    package static let jsonDepth = 512
    /// Longest TTL and stale TTL, in milliseconds: 100 years. Longer is refused, not clamped: `null` says never.
    package static let ttlMilliseconds: Int64 = 100 * 365 * 86_400 * 1000
    /// Largest version, and largest magnitude of a counter: 2^53 - 1, the integers that every JSON reader keeps exact.
    package static let maxSafeInteger: Int64 = (1 << 53) - 1
}

/// What the service says of the cache in `Cache-Status` (RFC 9211).
enum CacheStatus {
    /// The seconds that are left of the TTL, by the service's own clock, whatever this machine's is.
    static func ttl(_ field: String?) -> Int64? { parameter("ttl", of: field).flatMap { Int64($0) } }

    /// The tier of a hit, the reason of a miss.
    static func detail(_ field: String?) -> String? { parameter("detail", of: field) }

    private static func parameter(_ name: String, of field: String?) -> String? {
        for parameter in (field ?? "").split(separator: ";") {
            let words = parameter.split(separator: "=").map { $0.filter { $0 != " " } }
            if words.count == 2, words[0] == name { return words[1] }
        }
        return nil
    }
}

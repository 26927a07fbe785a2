/// What a row costs the file, in bytes: the measure of `max_disk`.
///
/// A row of up to a page's size shares its page with as many of its like as fit; a longer one fills pages of its own, of which the last is
/// not full (https://www.sqlite.org/fileformat2.html, section 1.6). The key stands once more in the index, whose pages are
/// about three quarters full, and each row has one or two index entries more. So the sum over all rows is the file's size without its
/// log, give or take a fifth, whatever the sizes of values are.
enum RowCost {
    /// Bytes of a page.
    static let pageBytes = 4096
    /// Longest row that stays whole within its page.
    private static let longestLocal = pageBytes - 35
    /// The shortest part of a longer row that SQLite keeps in the row's own page.
    private static let shortestLocal = (pageBytes - 12) * 32 / 255 - 23
    /// Bytes of a row in a page that continues it.
    private static let overflowBytes = pageBytes - 4
    /// Header of a row, its numbers, and its cell in the page.
    private static let fixedBytes = 42
    /// Bytes of an entry in the index of ages, and of one in the index of expiry.
    private static let ageBytes = 12
    private static let dueBytes = 18

    /// - Parameters:
    ///   - content: bytes of key, media type, tags and stored value.
    ///   - key: bytes of the key.
    ///   - expires: whether it has a TTL.
    static func bytes(content: Int, key: Int, expires: Bool) -> Int64 {
        let expiry = expires ? 12 : 0
        return Int64(table(content + fixedBytes + expiry) + (key + 12) * 4 / 3 + ageBytes + (expires ? dueBytes : 0))
    }

    private static func table(_ payload: Int) -> Int {
        guard payload > longestLocal else { return pageBytes / max(1, (pageBytes - 8) / payload) }
        let split = shortestLocal + (payload - shortestLocal) % overflowBytes
        let local = split <= longestLocal ? split : shortestLocal
        let pages = (payload - local + overflowBytes - 1) / overflowBytes
        return local + pages * pageBytes
    }
}

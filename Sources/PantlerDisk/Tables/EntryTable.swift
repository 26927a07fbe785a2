import PantlerCodec
import PantlerModel
import Synchronization

/// The rows of `entries`, as the writer changes them. Every change says by how much it moved its namespace's usage.
final class EntryTable {
    /// What is known of a row without its value.
    struct Row {
        var id: Int64
        var namespace: NamespaceID
        var key: [UInt8]
        var version: Version
        /// When it expires for good, in milliseconds; `nil` = never.
        var deadAt: Int64?
        var staleTTL: Int64
        /// When house-keeping looks whether it is dead; `nil` = never.
        var dueAt: Int64?
        var cost: Int64
        var tags: [UInt8]

    }

    private let find: Statement
    private let insert: Statement
    private let update: Statement
    private let updateHead: Statement
    private let head: Statement
    private let updateDue: Statement
    private let renumber: Statement
    private let remove: Statement
    private let byID: Statement
    private let due: Statement
    private let oldest: Statement
    private let oldestOf: Statement
    private let byKey: Statement
    private var deflater: Deflater
    private let counters: DiskCounters

    private static let rowColumns = "id, namespace, key, version, expires_at, stale_ttl, cost, tags, due_at"

    init(_ connection: borrowing SQLiteConnection, counters: DiskCounters) throws(SQLiteError) {
        self.counters = counters
        find = try Statement(
            connection,
            "SELECT id, version, due_at, cost FROM entries WHERE namespace = ?1 AND key = ?2"
        )
        insert = try Statement(
            connection,
            """
            INSERT INTO entries (namespace, key, version, expires_at, stale_ttl, due_at, size, form, cost, checksum,
                media_type, tags, value)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
            """
        )
        // Namespace, key and due_at are not set, so that the indexes stay as they are.
        update = try Statement(
            connection,
            """
            UPDATE entries SET version = ?3, expires_at = ?4, stale_ttl = ?5, size = ?7, form = ?8, cost = ?9,
                checksum = ?10, media_type = ?11, tags = ?12, value = ?13
            WHERE id = ?1
            """
        )
        // Where the row keeps its length, SQLite writes only the pages that differ. The value stands last, so that its own pages do not.
        updateHead = try Statement(
            connection,
            """
            UPDATE entries SET version = ?2, expires_at = ?3, stale_ttl = ?4, cost = ?5, checksum = ?6, tags = ?7
            WHERE id = ?1
            """
        )
        head = try Statement(
            connection,
            """
            SELECT id, version, expires_at, stale_ttl, due_at, size, form, cost, checksum, media_type, tags, length(value)
            FROM entries WHERE namespace = ?1 AND key = ?2
            """
        )
        updateDue = try Statement(connection, "UPDATE entries SET due_at = ?2 WHERE id = ?1")
        renumber = try Statement(
            connection,
            "UPDATE entries SET id = (SELECT max(id) + 1 FROM entries) WHERE id = ?1"
        )
        remove = try Statement(connection, "DELETE FROM entries WHERE id = ?1")
        byID = try Statement(connection, "SELECT namespace, cost, checksum FROM entries WHERE id = ?1")
        due = try Statement(
            connection,
            "SELECT \(Self.rowColumns) FROM entries WHERE due_at <= ?1 ORDER BY due_at LIMIT ?2"
        )
        oldest = try Statement(
            connection,
            "SELECT \(Self.rowColumns) FROM entries WHERE id > ?1 ORDER BY id LIMIT ?2"
        )
        oldestOf = try Statement(
            connection,
            """
            SELECT \(Self.rowColumns) FROM entries INDEXED BY entries_age
            WHERE namespace = ?3 AND id > ?1 ORDER BY id LIMIT ?2
            """
        )
        byKey = try Statement(
            connection,
            """
            SELECT \(Self.rowColumns) FROM entries INDEXED BY entries_key
            WHERE namespace = ?3 AND key >= ?1 ORDER BY key LIMIT ?2
            """
        )
        do {
            deflater = try Deflater()
        } catch {
            throw SQLiteError(code: .noMemory, message: error.description)
        }
    }

    // MARK: Writing

    /// - Returns: how the usage moved, and whether a row was there already.
    /// - Throws: `outdated` too, where the row's version is larger: changes of a key come in the order of their versions, so that something is
    ///   wrong with these.
    func put(
        _ address: EntryAddress,
        _ entry: Entry,
        _ options: PutOptions,
        _ deflation: Deflation? = nil
    ) throws(SQLiteError) -> (delta: TierUsage, replaced: Bool) {
        let old = try found(address)
        if let old, old.version > Int64(clamping: entry.version) { throw Self.outdated(entry.version, old.version) }
        let deflated = deflate(entry.value, options, deflation)
        let content = RowContent(entry, in: address.namespace, form: deflated == nil ? .plain : .deflated)
        let mediaBytes = content.mediaType?.utf8.count ?? 0
        let stored = deflated ?? entry.value
        let cost = RowCost.bytes(
            content: address.key.count + mediaBytes + content.tags.count + stored.count,
            key: address.key.count,
            expires: entry.deadAt != .never
        )
        try address.key.withBytes { (key) throws(SQLiteError) in
            try stored.withBytes { (value) throws(SQLiteError) in
                try content.tags.withBytes { (tags) throws(SQLiteError) in
                    let checksum = content.checksum(key: key, stored: value)
                    let dead = entry.deadAt == .never ? nil : entry.deadAt.milliseconds
                    if let old {
                        try update.bind(1, old.id)
                        try Self.fill(update, content, cost, checksum, tags, value)
                        try update.run()
                        try moveDue(of: old, to: dead)
                    } else {
                        try insert.bind(1, Int64(address.namespace))
                        try insert.bind(2, borrowing: key)
                        try insert.bind(6, dead)
                        try Self.fill(insert, content, cost, checksum, tags, value)
                        try insert.run()
                    }
                }
            }
        }
        return (TierUsage(entries: old == nil ? 1 : 0, bytes: cost - (old?.cost ?? 0)), old != nil)
    }

    /// Replaces the head of an entry. Its value is neither inflated nor read.
    ///
    /// - Returns: how the usage moved; `nil` if the entry is not here as the touch expects it.
    /// - Throws: `outdated` too, as `put`.
    func touch(_ address: EntryAddress, _ touch: Touch) throws(SQLiteError) -> TierUsage? {
        defer { head.reset() }
        guard try head.find(namespace: address.namespace, key: address.key) else { return nil }
        let version = Version(clamping: head.integer(1))
        if version == touch.head.version { return TierUsage() }
        if version > touch.head.version { throw Self.outdated(touch.head.version, Int64(clamping: version)) }
        guard touch.bases.contains(version), let form = StoredForm(rawValue: head.integer(6)) else { return nil }
        let before = RowContent(
            namespace: address.namespace,
            version: head.integer(1),
            expiresAt: head.optionalInteger(2) ?? .max,
            staleTTL: head.integer(3),
            size: head.integer(5),
            form: form,
            mediaType: head.optionalText(9),
            tags: Array(head.bytes(10))
        )
        var after = before
        after.version = Int64(clamping: touch.head.version)
        after.expiresAt = touch.head.expiresAt.milliseconds
        after.staleTTL = touch.head.staleTTL
        after.tags = TagList.encode(touch.head.tags)
        let stored = Int(clamping: head.integer(11))
        let sums = address.key.withUnsafeBytes { (before.headChecksum(key: $0), after.headChecksum(key: $0)) }
        let checksum = Checksum.exchanging(
            UInt32(truncatingIfNeeded: head.integer(8)),
            sums.0,
            for: sums.1,
            restBytes: stored
        )
        let dead = touch.head.expiresAt.advanced(byMilliseconds: touch.head.staleTTL)
        let cost = RowCost.bytes(
            content: address.key.count + (after.mediaType?.utf8.count ?? 0) + after.tags.count + stored,
            key: address.key.count,
            expires: dead != .never
        )
        let old = FoundRow(
            id: head.integer(0),
            version: before.version,
            dueAt: head.optionalInteger(4),
            cost: head.integer(7)
        )
        head.reset()
        try updateHead.bind(1, old.id)
        try updateHead.bind(2, after.version)
        try updateHead.bind(3, after.expiresAt == .max ? nil : after.expiresAt)
        try updateHead.bind(4, after.staleTTL)
        try updateHead.bind(5, cost)
        try updateHead.bind(6, RowContent.stored(checksum))
        try after.tags.withBytes { (tags) throws(SQLiteError) in
            if tags.isEmpty { try updateHead.bindNull(7) } else { try updateHead.bind(7, borrowing: tags) }
            try updateHead.run()
        }
        try moveDue(of: old, to: dead == .never ? nil : dead.milliseconds)
        return TierUsage(entries: 0, bytes: cost - old.cost)
    }

    /// - Returns: how the usage moved.
    /// - Throws: `outdated` too, as `put`.
    func delete(_ address: EntryAddress, version: Version) throws(SQLiteError) -> TierUsage {
        guard let old = try found(address) else { return TierUsage() }
        guard old.version <= Int64(clamping: version) else { throw Self.outdated(version, old.version) }
        try delete(id: old.id)
        return TierUsage(entries: -1, bytes: -old.cost)
    }

    func delete(id: Int64) throws(SQLiteError) {
        try remove.bind(1, id)
        try remove.run()
    }

    /// Removes a row if it still is the one with this checksum.
    func deleteDamaged(id: Int64, checksum: Int64) throws(SQLiteError) -> (namespace: NamespaceID, delta: TierUsage)? {
        defer { byID.reset() }
        try byID.bind(1, id)
        guard try byID.step(), byID.integer(2) == checksum else { return nil }
        let namespace = NamespaceID(truncatingIfNeeded: byID.integer(0))
        let cost = byID.integer(1)
        byID.reset()
        try delete(id: id)
        return (namespace, TierUsage(entries: -1, bytes: -cost))
    }

    /// Has house-keeping look at a row at another time.
    func setDue(id: Int64, _ moment: Int64?) throws(SQLiteError) {
        try updateDue.bind(1, id)
        try updateDue.bind(2, moment)
        try updateDue.run()
    }

    /// Gives a row the largest number, as if it had just come.
    func moveToEnd(id: Int64) throws(SQLiteError) {
        try renumber.bind(1, id)
        try renumber.run()
    }

    private static func outdated(_ version: Version, _ found: Int64) -> SQLiteError {
        SQLiteError(
            code: .outdated,
            message: "A change has version \(version), and the row of its key has version \(found) already."
        )
    }

    // MARK: Choosing rows

    /// Rows that are to be looked at by a moment, those that are due longest first.
    func due(at now: Int64, limit: Int) throws(SQLiteError) -> [Row] {
        try due.bind(1, now)
        return try rows(due, limit)
    }

    /// Rows in the order of their numbers, after one; of one namespace or of all.
    func oldest(of namespace: NamespaceID?, after id: Int64, limit: Int) throws(SQLiteError) -> [Row] {
        guard let namespace else {
            try oldest.bind(1, id)
            return try rows(oldest, limit)
        }
        try oldestOf.bind(1, id)
        try oldestOf.bind(3, Int64(namespace))
        return try rows(oldestOf, limit)
    }

    /// Rows of a namespace in the order of their keys, from one on.
    func rows(of namespace: NamespaceID, from key: [UInt8], limit: Int) throws(SQLiteError) -> [Row] {
        try byKey.bind(3, Int64(namespace))
        return try key.withBytes { (bytes) throws(SQLiteError) in
            try byKey.bind(1, borrowing: bytes)
            return try rows(byKey, limit)
        }
    }

    private func rows(_ statement: borrowing Statement, _ limit: Int) throws(SQLiteError) -> [Row] {
        defer { statement.reset() }
        try statement.bind(2, Int64(limit))
        var rows: [Row] = []
        while try statement.step() {
            let expiry = statement.isNull(4) ? Timestamp.never : Timestamp(milliseconds: statement.integer(4))
            let dead = expiry.advanced(byMilliseconds: statement.integer(5))
            rows.append(
                Row(
                    id: statement.integer(0),
                    namespace: NamespaceID(truncatingIfNeeded: statement.integer(1)),
                    key: Array(statement.bytes(2)),
                    version: Version(clamping: statement.integer(3)),
                    deadAt: dead == .never ? nil : dead.milliseconds,
                    staleTTL: statement.integer(5),
                    dueAt: statement.optionalInteger(8),
                    cost: statement.integer(6),
                    tags: Array(statement.bytes(7))
                )
            )
        }
        return rows
    }

    // MARK: Inside

    private struct FoundRow {
        var id: Int64
        var version: Int64
        var dueAt: Int64?
        var cost: Int64
    }

    private func found(_ address: EntryAddress) throws(SQLiteError) -> FoundRow? {
        defer { find.reset() }
        try find.bind(1, Int64(address.namespace))
        return try address.key.withBytes { (key) throws(SQLiteError) in
            try find.bind(2, borrowing: key)
            guard try find.step() else { return nil }
            return FoundRow(
                id: find.integer(0),
                version: find.integer(1),
                dueAt: find.optionalInteger(2),
                cost: find.integer(3)
            )
        }
    }

    /// `due_at` only ever has to be early enough: a row that lives on past it is looked at then, and given its new moment. So a row that is
    /// rewritten before its end, as most are, does not move in the index.
    private func moveDue(of old: FoundRow, to dead: Int64?) throws(SQLiteError) {
        guard let dead, old.dueAt.map({ dead < $0 }) ?? true else { return }
        try setDue(id: old.id, dead)
    }

    private static func fill(
        _ statement: borrowing Statement,
        _ content: RowContent,
        _ cost: Int64,
        _ checksum: Int64,
        _ tags: UnsafeRawBufferPointer,
        _ value: UnsafeRawBufferPointer
    ) throws(SQLiteError) {
        try statement.bind(3, content.version)
        try statement.bind(4, content.expiresAt == .max ? nil : content.expiresAt)
        try statement.bind(5, content.staleTTL)
        try statement.bind(7, content.size)
        try statement.bind(8, content.form.rawValue)
        try statement.bind(9, cost)
        try statement.bind(10, checksum)
        try statement.bind(11, content.mediaType)
        if tags.isEmpty { try statement.bindNull(12) } else { try statement.bind(12, borrowing: tags) }
        try statement.bind(13, borrowing: value)
    }

    /// `nil` where the value is to be stored plain.
    private func deflate(_ value: [UInt8], _ options: PutOptions, _ deflation: Deflation?) -> [UInt8]? {
        guard Deflation.isWanted(value, options) else { return nil }
        // Whatever zlib has against it, plain is always possible.
        let deflated = deflation?.stored ?? (try? deflater.deflate(value, level: options.compressionLevel)) ?? nil
        counters.compressionIn.add(UInt64(value.count), ordering: .relaxed)
        counters.compressionOut.add(UInt64(deflated?.count ?? value.count), ordering: .relaxed)
        return deflated
    }
}

import PantlerCodec
import PantlerModel

/// The way back from a start with a wall clock far ahead (see `ClockDoubt`): the time line continues where it was before, and what
/// expires by the wrong times comes along, with what was left of its TTL. No entry is lost. Expiry times are off by as much as the machine
/// was really away, which nobody can know.
enum ClockReset {
    struct Report {
        /// How far the time line went back, in milliseconds.
        var milliseconds: Int64
        /// Entries whose expiry went with it.
        var entries = 0
    }

    /// Changes everything in one transaction. Complexity: O(everything in the file).
    ///
    /// - Parameter connection: a writer's, to a file that nobody else has open.
    /// - Returns: `nil` where the time line is not ahead of the clock, and nothing was changed.
    static func run(
        _ connection: borrowing SQLiteConnection,
        _ readings: ClockReadings
    ) throws(SQLiteError) -> Report? {
        guard let anchor = try RestoredState(connection).state.clockAnchor else { return nil }
        let (boot, wall) = (readings.bootMilliseconds(), readings.wallMilliseconds())
        let elapsed = anchor.bootID == readings.bootID ? max(0, boot - anchor.bootMilliseconds) : 0
        let now = anchor.serviceMilliseconds + elapsed
        let target =
            anchor.doubt.map {
                $0.earlierServiceMilliseconds + max(0, wall - $0.earlierWallMilliseconds)
            } ?? wall
        var report = Report(milliseconds: now - target)
        guard report.milliseconds > 0 else { return nil }
        let moved = Moved(from: anchor.doubt?.serviceMilliseconds ?? .min, by: report.milliseconds)
        try connection.execute("BEGIN IMMEDIATE")
        do throws(SQLiteError) {
            report.entries = try moveRows(connection, moved)
            report.entries += try moveJournal(connection, moved)
            try moveMarks(connection, moved)
            let target = ClockAnchor(
                bootID: readings.bootID,
                bootMilliseconds: boot,
                wallMilliseconds: wall,
                serviceMilliseconds: target
            )
            try StateTables(connection).set(target)
            try connection.execute("COMMIT")
        } catch {
            if connection.isInTransaction { try? connection.execute("ROLLBACK") }
            throw error
        }
        return report
    }

    /// Which moments of the time line go back: all from one on, by so many milliseconds.
    private struct Moved {
        let from: Int64
        let by: Int64

        func moved(_ moment: Int64) -> Int64 { moment >= from && moment != .max ? moment - by : moment }

        func moved(_ moment: Timestamp) -> Timestamp { Timestamp(milliseconds: moved(moment.milliseconds)) }

        func moved(_ change: EntryChange) -> EntryChange {
            switch change {
            case .put(var entry, let options):
                entry.expiresAt = moved(entry.expiresAt)
                return .put(entry, options)
            case .touch(var touch):
                touch.head.expiresAt = moved(touch.head.expiresAt)
                return .touch(touch)
            case .delete: return change
            }
        }
    }

    private static func moveRows(_ connection: borrowing SQLiteConnection, _ moved: Moved) throws(SQLiteError) -> Int {
        let next = try Statement(
            connection,
            "SELECT \(RowReading.columns) FROM entries WHERE id > ?1 AND expires_at >= ?2 ORDER BY id LIMIT 1"
        )
        let update = try Statement(
            connection,
            "UPDATE entries SET expires_at = ?2, due_at = ?3, checksum = ?4 WHERE id = ?1"
        )
        var last = Int64.min
        var count = 0
        while true {
            try next.bind(1, last)
            try next.bind(2, moved.from)
            defer { next.reset() }
            guard try next.step() else { return count }
            last = next.integer(0)
            // A damaged row stays as it is, and is found to be so when it is read.
            guard let (content, sums) = content(next, moved), sums.old == next.integer(6) else { continue }
            let dead = Timestamp(milliseconds: content.expiresAt).advanced(byMilliseconds: content.staleTTL)
            next.reset()
            try update.bind(1, last)
            try update.bind(2, content.expiresAt)
            try update.bind(3, dead.milliseconds)
            try update.bind(4, sums.new)
            try update.run()
            count += 1
        }
    }

    /// A row's content with its new expiry, and its checksums before and after.
    private static func content(
        _ row: borrowing Statement,
        _ moved: Moved
    ) -> (content: RowContent, sums: (old: Int64, new: Int64))? {
        guard let form = StoredForm(rawValue: row.integer(5)) else { return nil }
        var content = RowContent(
            namespace: NamespaceID(truncatingIfNeeded: row.integer(10)),
            version: row.integer(1),
            expiresAt: row.integer(2),
            staleTTL: row.integer(3),
            size: row.integer(4),
            form: form,
            mediaType: row.optionalText(7),
            tags: Array(row.bytes(8))
        )
        let (key, stored) = (Array(row.bytes(11)), Array(row.bytes(9)))
        func sum(_ content: RowContent) -> Int64 {
            key.withUnsafeBytes { key in stored.withUnsafeBytes { content.checksum(key: key, stored: $0) } }
        }
        let old = sum(content)
        content.expiresAt = moved.moved(content.expiresAt)
        return (content, (old, sum(content)))
    }

    private static func moveJournal(_ connection: borrowing SQLiteConnection, _ moved: Moved) throws(SQLiteError) -> Int
    {
        let next = try Statement(connection, "SELECT id, changes FROM journal WHERE id > ?1 ORDER BY id LIMIT 1")
        let update = try Statement(connection, "UPDATE journal SET changes = ?2 WHERE id = ?1")
        var last = Int64.min
        var count = 0
        while true {
            try next.bind(1, last)
            defer { next.reset() }
            guard try next.step() else { return count }
            last = next.integer(0)
            guard let changes = JournalRecord.decode(next.bytes(1)) else { continue }
            next.reset()
            let items = changes.map { namespace, key, change in
                let address = EntryAddress(namespace: namespace, key: key, hash: 0)
                return Batch.Item(ticket: 0, change: .entry(KeyedChange(address, moved.moved(change))))
            }
            var record: [UInt8] = []
            JournalRecord.encode(items, into: &record)
            try record.withBytes { (bytes) throws(SQLiteError) in
                try update.bind(1, last)
                try update.bind(2, borrowing: bytes)
                try update.run()
            }
            count += items.count
        }
    }

    /// Moves when marks made entries stale, and when namespaces were made. A damaged row stays as it is, and is found to be so.
    private static func moveMarks(_ connection: borrowing SQLiteConnection, _ moved: Moved) throws(SQLiteError) {
        try moveMarks(.namespaces, "id = ?1", moments: ["created_at", "stale_since"], connection, moved)
        try moveMarks(.tags, "namespace = ?1 AND tag = ?2", moments: ["stale_since"], connection, moved)
    }

    private struct Mark {
        let number: Int64
        let tag: [UInt8]
        let moments: [Int64]
        let marks: [StaleMark]
    }

    /// - Parameters:
    ///   - row: the condition by which a row is found.
    ///   - moments: the columns of single moments.
    private static func moveMarks(
        _ table: CheckedTable,
        _ row: String,
        moments: [String],
        _ connection: borrowing SQLiteConnection,
        _ moved: Moved
    ) throws(SQLiteError) {
        let isOfTags = table == .tags
        let name = table.rawValue
        var found: [Mark] = []
        do {
            let rows = try Statement(
                connection,
                """
                SELECT \(isOfTags ? "namespace, tag" : "id, ''"), stale_marks, \(moments.joined(separator: ", ")) FROM \(name)
                WHERE \(table.isSound)
                """
            )
            while try rows.step() {
                found.append(
                    Mark(
                        number: rows.integer(0),
                        tag: Array(rows.bytes(1)),
                        moments: moments.indices.map { rows.integer(Int32(3 + $0)) },
                        marks: StaleMarks.decode(rows.bytes(2), last: nil)
                    )
                )
            }
        }
        let settings = moments.indices.map { "\(moments[$0]) = ?\(4 + $0)" }.joined(separator: ", ")
        let update = try Statement(connection, "UPDATE \(name) SET stale_marks = ?3, \(settings) WHERE \(row)")
        let seal = try Statement(
            connection,
            "UPDATE \(name) SET checksum = \(table.checksum(table.columns)) WHERE \(row)"
        )
        for mark in found {
            try update.bind(1, mark.number)
            try seal.bind(1, mark.number)
            if isOfTags {
                let tag = EntryTag(bytes: mark.tag.withUnsafeBytes { $0 })
                try update.bind(2, tag.text)
                try seal.bind(2, tag.text)
            }
            for (place, moment) in mark.moments.enumerated() {
                try update.bind(Int32(4 + place), moment > 0 ? moved.moved(moment) : moment)
            }
            let marks = mark.marks.map { StaleMark(before: $0.before, since: moved.moved($0.since)) }
            try StaleMarks.encode(Watermark(staleMarks: marks)).withBytes { (bytes) throws(SQLiteError) in
                if bytes.isEmpty { try update.bindNull(3) } else { try update.bind(3, borrowing: bytes) }
                try update.run()
            }
            try seal.run()
        }
    }
}

/// The tables of `pantler.sqlite`, and how older files become this one.
///
/// `entries` has a row an entry, numbered in the order in which keys first came, so that a new row is appended to the last page, and the
/// rows that have been here longest are the ones with the smallest numbers. A key is found through `entries_key`, which is also the
/// order of listings. Measured against a table keyed by hash (point read 4 µs, a whole page dirty for each row) and one without
/// row numbers, keyed by name (5 to 9 µs): 6 µs a point read, and up to 300,000 rows/s where keys come in some order.
enum Schema {
    /// "Pant", in the file's header: tells it from other programs' databases.
    static let applicationID: Int64 = 0x5061_6e74

    static let current = migrations.count
    /// The first that has a journal.
    static let journalVersion = 2
    /// The first whose state has checksums.
    static let checksumVersion = 4
    /// The first whose policies say how long negative entries live, and how early entries are refreshed.
    static let negativeVersion = 5
    /// The first that has tokens.
    static let tokenVersion = 6

    /// What turns version n of the file into n + 1, each in a transaction of its own. Never changed once released; new ones go to
    /// the end.
    static let migrations = [
        """
        CREATE TABLE entries (
            id INTEGER PRIMARY KEY,
            namespace INTEGER NOT NULL,
            key BLOB NOT NULL,
            version INTEGER NOT NULL,
            expires_at INTEGER,           -- service milliseconds; NULL = never
            stale_ttl INTEGER NOT NULL,   -- milliseconds
            due_at INTEGER,               -- when to look whether it is dead: at or before its death; NULL = never
            size INTEGER NOT NULL,        -- bytes of the value as it was sent
            form INTEGER NOT NULL,        -- 0 = plain, 1 = deflated (RFC 1950)
            cost INTEGER NOT NULL,        -- bytes of the file that the row is counted with
            checksum INTEGER NOT NULL,    -- CRC-32, see RowContent
            media_type TEXT,              -- NULL = JSON
            tags BLOB,                    -- a byte of length, then the tag, for each; NULL = none
            value BLOB NOT NULL           -- last, so that all else is found without reading through it
        );
        CREATE UNIQUE INDEX entries_key ON entries (namespace, key);
        CREATE INDEX entries_age ON entries (namespace);
        CREATE INDEX entries_due ON entries (due_at) WHERE due_at IS NOT NULL;
        CREATE TABLE namespaces (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            generation INTEGER NOT NULL,
            gone_before INTEGER NOT NULL,
            stale_before INTEGER NOT NULL,
            stale_since INTEGER NOT NULL,
            default_ttl INTEGER,
            max_ttl INTEGER,
            stale_ttl INTEGER NOT NULL,
            ttl_jitter REAL NOT NULL,
            max_memory INTEGER,
            max_entries INTEGER,
            max_disk INTEGER,
            max_value_size INTEGER NOT NULL,
            eviction TEXT NOT NULL,
            durability TEXT NOT NULL,
            compression_threshold INTEGER NOT NULL,
            compression_level INTEGER NOT NULL
        );
        CREATE TABLE tags (
            namespace INTEGER NOT NULL,
            tag TEXT NOT NULL,
            gone_before INTEGER NOT NULL,
            stale_before INTEGER NOT NULL,
            stale_since INTEGER NOT NULL,
            PRIMARY KEY (namespace, tag)
        ) WITHOUT ROWID;
        -- What each namespace's rows cost, kept in step with them so that a start need not count.
        CREATE TABLE usage (
            namespace INTEGER PRIMARY KEY,
            entries INTEGER NOT NULL,
            bytes INTEGER NOT NULL
        );
        -- Namespaces that are gone, while rows of theirs are left.
        CREATE TABLE dropped (namespace INTEGER PRIMARY KEY);
        -- Namespaces whose rows up to a version must not be seen, while some of these are left: see VoidMarks.
        CREATE TABLE voids (namespace INTEGER PRIMARY KEY, through INTEGER NOT NULL);
        -- Single facts by name: see StateName.
        CREATE TABLE state (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
        """,
        """
        -- Changes of entries that are committed, and not in their rows yet; a row a commit: see Journal and JournalRecord.
        CREATE TABLE journal (id INTEGER PRIMARY KEY, changes BLOB NOT NULL);
        -- Hashes of the hottest entries, 8 bytes each, little-endian, hottest first; at most one row. Apart from `state`, all of which a
        -- start needs, so that `state` stays in its first page.
        CREATE TABLE hot_set (id INTEGER PRIMARY KEY CHECK (id = 1), hashes BLOB NOT NULL);
        INSERT INTO hot_set (id, hashes) SELECT 1, value FROM state WHERE name = 'hot_set';
        DELETE FROM state WHERE name = 'hot_set';
        """,
        """
        -- Marks that made entries stale, where there are several: see StaleMarks. `stale_before` and `stale_since` are those of the last.
        ALTER TABLE namespaces ADD COLUMN stale_marks BLOB;
        ALTER TABLE tags ADD COLUMN stale_marks BLOB;
        -- Rows of a smaller version are void: the namespace has left the disk since.
        ALTER TABLE namespaces ADD COLUMN lower_from INTEGER NOT NULL DEFAULT 0;
        """,
        """
        -- Of each row that a start goes by, a checksum over its other columns: see RowChecksum.
        ALTER TABLE namespaces ADD COLUMN checksum INTEGER;
        UPDATE namespaces SET checksum = row_checksum('namespaces', id, name, created_at, generation, gone_before, stale_before,
            stale_since, default_ttl, max_ttl, stale_ttl, ttl_jitter, max_memory, max_entries, max_disk, max_value_size, eviction,
            durability, compression_threshold, compression_level, stale_marks, lower_from);
        ALTER TABLE tags ADD COLUMN checksum INTEGER;
        UPDATE tags SET checksum = row_checksum('tags', namespace, tag, gone_before, stale_before, stale_since, stale_marks);
        ALTER TABLE usage ADD COLUMN checksum INTEGER;
        UPDATE usage SET checksum = row_checksum('usage', namespace, entries, bytes);
        ALTER TABLE dropped ADD COLUMN checksum INTEGER;
        UPDATE dropped SET checksum = row_checksum('dropped', namespace);
        ALTER TABLE voids ADD COLUMN checksum INTEGER;
        UPDATE voids SET checksum = row_checksum('voids', namespace, through);
        ALTER TABLE state ADD COLUMN checksum INTEGER;
        UPDATE state SET checksum = row_checksum('state', name, value);
        """,
        """
        ALTER TABLE namespaces ADD COLUMN negative_ttl INTEGER NOT NULL DEFAULT 60000;
        ALTER TABLE namespaces ADD COLUMN early_refresh REAL NOT NULL DEFAULT 0;
        -- A row that is damaged stays so.
        UPDATE namespaces SET checksum = row_checksum('namespaces', id, name, created_at, generation, gone_before, stale_before,
            stale_since, default_ttl, max_ttl, stale_ttl, ttl_jitter, max_memory, max_entries, max_disk, max_value_size, eviction,
            durability, compression_threshold, compression_level, stale_marks, lower_from,
            negative_ttl, early_refresh)
        WHERE checksum IS row_checksum('namespaces', id, name, created_at, generation, gone_before, stale_before,
            stale_since, default_ttl, max_ttl, stale_ttl, ttl_jitter, max_memory, max_entries, max_disk, max_value_size, eviction,
            durability, compression_threshold, compression_level, stale_marks, lower_from);
        """,
        """
        -- Who may call: see TokenRecord. Of a secret there is its SHA-256 alone. Times are those of the wall clock, in milliseconds.
        CREATE TABLE tokens (
            id TEXT PRIMARY KEY,
            role TEXT NOT NULL,
            namespaces TEXT NOT NULL,     -- patterns, with commas between them
            note TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            expires_at INTEGER,           -- NULL = never
            digest BLOB NOT NULL,
            former_digest BLOB,           -- of the secret before a rotation, which is good until `former_until`
            former_until INTEGER,
            last_used_day INTEGER,        -- days since 1970; NULL = never
            checksum INTEGER
        ) WITHOUT ROWID;
        """,
    ]

    /// Brings a file of any older version, or an empty one, to the present version.
    ///
    /// - Parameter steps: `migrations`; others in tests.
    /// - Throws: `newer` and `notOurs`, having changed nothing.
    static func prepare(
        _ connection: borrowing SQLiteConnection,
        path: String,
        steps: [String] = migrations
    ) throws(DiskOpenError) {
        let found: Header
        do {
            // Until the file is known to be ours nothing may change it, not even the end of a look at it.
            try connection.keepLogOnClose(true)
            found = try Header(connection)
        } catch {
            throw DiskOpenError(error, path: path)
        }
        if found.applicationID != applicationID, !found.isEmpty {
            throw .notOurs(path: path, reason: "its application_id is \(found.applicationID), not \(applicationID)")
        }
        if found.version > steps.count { throw .newer(path: path, version: found.version, known: steps.count) }
        do {
            // What is in the log is copied once the writer has seen to it that it is on disk: see WALTrust.
            try connection.execute("PRAGMA wal_autocheckpoint = 0")
            if found.isEmpty {
                // Both have to come before the first table.
                try connection.execute("PRAGMA page_size = \(RowCost.pageBytes); PRAGMA auto_vacuum = INCREMENTAL")
            }
            try connection.execute("PRAGMA journal_mode = WAL")
            try migrate(connection, from: found.version, steps)
        } catch {
            throw DiskOpenError(error, path: path)
        }
    }

    private static func migrate(
        _ connection: borrowing SQLiteConnection,
        from version: Int,
        _ steps: [String]
    ) throws(SQLiteError) {
        for step in version..<steps.count {
            try connection.execute("BEGIN EXCLUSIVE")
            do {
                try connection.execute(steps[step])
                try connection.execute(
                    "PRAGMA application_id = \(applicationID); PRAGMA user_version = \(step + 1); COMMIT"
                )
            } catch {
                if connection.isInTransaction { try? connection.execute("ROLLBACK") }
                throw error
            }
        }
    }

    /// What a file says about itself.
    private struct Header {
        let version: Int
        let applicationID: Int64
        let isEmpty: Bool

        init(_ connection: borrowing SQLiteConnection) throws(SQLiteError) {
            version = Int(try connection.integer("PRAGMA user_version"))
            applicationID = try connection.integer("PRAGMA application_id")
            let tables = try connection.integer("SELECT count(*) FROM sqlite_schema")
            isEmpty = tables == 0 && version == 0 && applicationID == 0
        }
    }
}

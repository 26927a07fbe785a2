import PantlerModel

/// What an operator may choose about the disk tier.
package struct DiskOptions: Hashable, Sendable {
    /// Bytes that the rows of all namespaces may cost the file (see `RowCost`). The file is a little larger, and stays so for a while after
    /// rows have left: room that rows leave behind is used again, and given back to the system once it is a quarter of the file. See also
    /// `DiskTier.setMaxBytes`.
    package var maxBytes: Int64 = 10 << 30

    /// Bytes that the whole data folder may hold, log and journal included; `.max` = as many as there are. See `FolderBounds`, and
    /// `DiskTier.setMaxFolderBytes`.
    package var maxFolderBytes = Int64.max

    /// Bytes of keys and values that may wait for the writer. Above that, callers who write are slowed down; see `LowerTier.settle`.
    package var queueBytes: Int64 = 16 << 20

    /// Changes that may wait for the writer.
    package var queueEntries = 65_536

    /// Milliseconds that the writer waits after a change, so that others can share its transaction. A `through` write wakes it
    /// at once.
    package var lingerMilliseconds = 5

    /// Threads that read, each over a connection of its own.
    package var readers = 2

    /// How many callers may read at a time on their own threads what need not be waited for: as many as there are event loops. See
    /// `CachedReads`.
    package var cachedReads = 1

    /// Threads that deflate values before they are written: one for every two cores, and at most four.
    package var deflaters = max(1, min(4, Cores.ofThisThread().numbers.count / 2))

    /// Bytes of pages that the writer's connection keeps, and each reader's. SQLite's default would be 2 MB.
    package var writerCacheBytes: Int64 = 8 << 20
    package var readerCacheBytes: Int64 = 4 << 20

    /// Bytes of write-ahead log from which on it is copied into the file by a thread of its own. At four times as many the
    /// writer stops to do it itself, which bounds the log. Less where the folder may hold little.
    package var walBytes: Int64 = 16 << 20

    /// A commit of so many changes goes to the journal first, and from there to its rows together with many others: see `Journal`.
    package var journaledChanges = 16

    /// When the journal has so many bytes, or so many entries, its changes are merged into their rows. They are held in memory meanwhile:
    /// half as many bytes of them while they gather, and as many again while those before them are merged. Where merging does not
    /// keep up there can be several times as many; see `JournalState.destination`.
    package var journalBytes: Int64 = 16 << 20
    package var journalEntries = 32_768

    /// The journal is emptied when a change has been in it for so many milliseconds, and when no commit has gone there for so many.
    package var journalMilliseconds = 5000
    package var journalIdleMilliseconds = 200

    /// Pages that the file may have at most; `nil` = as many as the disk holds. Makes a full disk in tests.
    package var maxPages: Int64?

    package init() {}
}

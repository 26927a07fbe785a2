/// How many bytes each part of a data folder may take, so that the folder stays within its bound: the database, its log, the index of the
/// log, what waits in the journal, and the ballast.
///
/// Each part that comes and goes is a small share of a small bound, and has its own size where the bound is large. What the database may
/// take is what is left. A single value that is larger than a commit's share comes on top for a moment, once in the log and once in the
/// database.
struct FolderBounds: Hashable, Sendable {
    /// When the log has so many bytes it is copied into the database; when it has `mostLogBytes`, everything waits for that.
    private(set) var logBytes: Int64
    private(set) var mostLogBytes: Int64
    /// When the journal has so many bytes its changes are merged into their rows.
    let journalBytes: Int64
    /// Bytes of values in one commit: half of the room that is kept for it, since a value that takes somewhat more than half a page has all
    /// of the page.
    let commitBytes: Int64
    /// Whether `commitBytes` bounds a commit because the folder is small, and not only so that other writers need not wait long for it.
    let isCommitBound: Bool
    /// The most changes of rows in one transaction of merging or house-keeping; each may write some pages.
    private(set) var stepChanges: Int
    /// Bytes of the ballast.
    let ballastBytes: Int64
    /// The database's file grows and shrinks by multiples of this.
    let chunkBytes: Int64
    /// When the database has so many bytes it gives free pages back to the system.
    let fileBytes: Int64
    /// When the pages in use have so many bytes, rows leave.
    let usedBytes: Int64
    /// With so many bytes more than `usedBytes` everything waits for rows to leave. As many again are room for a commit.
    var growthBytes: Int64 { usedBytes == .max ? .max : (fileBytes - usedBytes) / 2 }

    /// The longest log: with a commit, or a step of merging or house-keeping, that began a little below `mostLogBytes`.
    var longestLogBytes: Int64 { mostLogBytes + roomBytes }

    /// Room for one commit or step: once in the log, and once in the database.
    private let roomBytes: Int64

    /// A commit of more bytes would take longer than another write should have to wait for it.
    private static let longestCommitBytes: Int64 = 2 << 20
    private static let largestBallastBytes: Int64 = 1 << 20
    private static let largestRoomBytes: Int64 = 16 << 20
    /// In a large folder the file grows in few pieces.
    private static let largestChunkBytes: Int64 = 64 << 10
    /// Pages that the change of a row writes: in the table, and in the indexes.
    private static let pagesAChange: Int64 = 2
    /// The index of the log, the lock, and what else is small.
    private static let fixedBytes: Int64 = 64 << 10

    /// - Parameter maxBytes: of the whole folder; `.max` = no bound.
    init(maxBytes: Int64, _ options: DiskOptions) {
        let share = maxBytes / 32
        logBytes = min(options.walBytes, share)
        mostLogBytes = logBytes.multipliedReportingOverflow(by: 4).partialValue
        journalBytes = min(options.journalBytes, share)
        roomBytes = min(share, Self.largestRoomBytes)
        commitBytes = min(Self.longestCommitBytes, share / 2)
        isCommitBound = commitBytes < Self.longestCommitBytes
        stepChanges = Int(clamping: max(4, share / (Int64(RowCost.pageBytes) * Self.pagesAChange)))
        ballastBytes = min(Self.largestBallastBytes, share / 2)
        let page = Int64(RowCost.pageBytes)
        chunkBytes = min(Self.largestChunkBytes, max(page, share / 8 / page * page))
        guard maxBytes < .max else {
            (fileBytes, usedBytes) = (.max, .max)
            return
        }
        let others = mostLogBytes + roomBytes + chunkBytes + ballastBytes + Self.fixedBytes
        fileBytes = max(0, maxBytes - others)
        usedBytes = max(0, fileBytes - 2 * roomBytes)
    }

    /// The bounds while only the room of the ballast is left: the log is kept short, and cut as soon as it has come to that.
    func withinBallast() -> FolderBounds {
        var bounds = self
        bounds.logBytes = min(logBytes, ballastBytes / 4)
        bounds.mostLogBytes = bounds.logBytes
        bounds.stepChanges = min(
            stepChanges,
            max(4, Int(clamping: bounds.logBytes / (Int64(RowCost.pageBytes) * Self.pagesAChange)))
        )
        return bounds
    }
}

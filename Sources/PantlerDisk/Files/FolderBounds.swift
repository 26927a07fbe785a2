/// What each part of a data folder may take, so that all of it together stays within its bound: the database, its log, the index of the
/// log, what waits in the journal, and the ballast.
///
/// Each part that comes and goes is a small share of a small bound, and has its own size where the bound is large. What the database may
/// take is what is left. A single value that is larger than a commit's share comes on top for a moment, once in the log and once in the
/// database.
struct FolderBounds: Hashable, Sendable {
    /// Bytes of log from which on it is copied into the database, and those at which everything waits for that.
    private(set) var logBytes: Int64
    private(set) var mostLogBytes: Int64
    /// Bytes in the journal from which on its changes come to their rows.
    let journalBytes: Int64
    /// Bytes of values in one commit.
    let commitBytes: Int64
    /// Whether a commit has to be so short for want of room, and not only for the sake of those who wait beside it.
    let isCommitBound: Bool
    /// Changes of rows in one transaction of merging or house-keeping; each may write some pages.
    private(set) var stepChanges: Int
    /// Bytes of the ballast.
    let ballastBytes: Int64
    /// Bytes of the database from which on it gives free pages back.
    let fileBytes: Int64
    /// Bytes of pages in use from which on rows leave.
    let usedBytes: Int64
    /// Bytes that may come on top of these before anything else waits for rows to leave. So much again is room for a commit.
    var growthBytes: Int64 { usedBytes == .max ? .max : (fileBytes - usedBytes) / 2 }

    /// A commit whose values are more than these takes longer than a write that waits for it may.
    private static let longestCommitBytes: Int64 = 2 << 20
    private static let largestBallastBytes: Int64 = 1 << 20
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
        commitBytes = min(Self.longestCommitBytes, share)
        isCommitBound = share < Self.longestCommitBytes
        stepChanges = Int(clamping: max(4, share / (Int64(RowCost.pageBytes) * Self.pagesAChange)))
        ballastBytes = min(Self.largestBallastBytes, share / 2)
        guard maxBytes < .max else {
            (fileBytes, usedBytes) = (.max, .max)
            return
        }
        let growth = min(share, 16 << 20)
        fileBytes = max(0, maxBytes - mostLogBytes - growth - ballastBytes - Self.fixedBytes)
        usedBytes = max(0, fileBytes - 2 * growth)
    }

    /// While only the room of the ballast is left: little log at a time, which is cut as soon as it is used up.
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

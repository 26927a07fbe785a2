import PantlerModel

/// What the writer knows of the journal's rows, and how far the merging of them has come.
struct JournalState {
    /// What a merge still has to do: first the changes, then the removal of the journal's rows that held them.
    struct MergeProgress {
        /// In the order of namespaces and keys, so that changes of the same pages stand together.
        let changes: [KeyedChange]
        var next = 0
        /// Numbers of the journal's rows that go with it.
        var rows: ArraySlice<Int64>
    }

    /// Whether commits may go there.
    let isUsable: Bool
    /// The number of the row that is written next.
    private(set) var nextID: Int64
    /// Numbers of the rows that came since the last merge began, their bytes, and when the first and the last of them came.
    private(set) var rows: [Int64]
    private(set) var bytes: Int64
    private(set) var firstAt: UInt64
    private(set) var lastAt: UInt64
    var merge: MergeProgress?
    /// Whether somebody waits for it to be empty.
    var isWanted = false
    /// After a failure there is no merging before this moment; monotonic nanoseconds, as all moments here.
    var restsUntil: UInt64 = 0
    /// Why the last step failed.
    var fault: TierFault?

    init(_ restored: RestoredJournal) {
        isUsable = restored.isUsable
        rows = restored.rows
        bytes = restored.bytes
        nextID = max(restored.end, restored.rows.last ?? 0) + 1
        firstAt = monotonicNanoseconds()
        lastAt = firstAt
    }

    var isEmpty: Bool { rows.isEmpty && merge == nil }

    // MARK: Which commits go there

    /// Where a commit writes its changes of entries; see rule 2 of `Journal`.
    enum Destination {
        case rows
        /// To their rows, after what is in the journal has come to its own.
        case rowsOnceMerged
        case journal
        /// To the journal, although its rows would be better: it is to be emptied meanwhile, step by step.
        case journalToBeMerged
        /// To the journal, once merging has had some time to catch up.
        case journalOnceEased
    }

    /// Mean size of a change above which the journal does not pay: the bytes of large values are what they cost, and there they are
    /// written twice.
    private static let largeChangeBytes: Int64 = 2048
    /// So many changes can be merged before a commit without anyone noticing: they take a millisecond or two.
    private static let fewChanges = 256

    /// - Parameters:
    ///   - changes: how many the commit has.
    ///   - bytes: the sum of what they count for (`KeyedChange.bytes`).
    ///   - waiting: changes that are in the journal.
    func destination(changes: Int, bytes: Int64, waiting: Int, _ options: DiskOptions) -> Destination {
        guard isUsable else { return .rows }
        let isLarge = bytes > Int64(changes) * Self.largeChangeBytes
        if isEmpty { return isLarge || changes < options.journaledChanges ? .rows : .journal }
        // Merging does not keep up. To merge all at once takes longer than a write should wait, and is left for when nothing else helps.
        if self.bytes >= options.journalBytes * 4 { return .rowsOnceMerged }
        if self.bytes >= options.journalBytes * 2 { return .journalOnceEased }
        if !isLarge { return .journal }
        return waiting <= Self.fewChanges ? .rowsOnceMerged : .journalToBeMerged
    }

    // MARK: What has come there

    /// Notes that the next row is committed.
    mutating func note(bytes: Int64, at now: UInt64) {
        if rows.isEmpty { firstAt = now }
        lastAt = now
        rows.append(nextID)
        nextID += 1
        self.bytes += bytes
    }

    /// Begins to merge all that has come so far.
    mutating func beginMerge(_ changes: [KeyedChange]) {
        merge = MergeProgress(changes: changes, rows: rows[...])
        rows = []
        bytes = 0
        isWanted = false
    }

    /// Notes that nothing is in the journal any more.
    mutating func clear() {
        merge = nil
        rows = []
        bytes = 0
        isWanted = false
    }
}

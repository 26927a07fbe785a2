import PantlerModel
import Synchronization

/// Whether the log is known to be on disk wherever a sync has said so.
///
/// A failed sync takes that knowledge away, of all that is in the log, and so does a start: what an earlier run has left in the system's
/// cache may be there and not on disk. Until the log has been written anew and synced (`WALFile.rewrite`) no sync of it proves anything, nothing
/// is answered as durable, and nothing of it is copied into the database: a power cut would leave the copies without the log that they
/// came from.
final class WALTrust: Sendable {
    /// How many doubts there have been, and how many of them are answered. Any thread may raise a doubt; only the writer's answers them. The
    /// first doubt is the start's.
    private let doubts = Atomic<UInt64>(1)
    private let answered = Atomic<UInt64>(0)
    /// The cause of the last doubt that a failure has raised.
    private let shown = Mutex<TierFault?>(nil)
    /// One sync of the log at a time; see `WatchedWAL`.
    private let turn = Mutex(())

    var isSound: Bool { doubts.load(ordering: .acquiring) == answered.load(ordering: .acquiring) }

    /// Why the log is not to be trusted; `nil` also where that is only because it has not been written anew since the start.
    var fault: TierFault? { isSound ? nil : shown.withLock { $0 } }

    /// The number of the latest doubt, to be given to `answer`.
    var doubt: UInt64 { doubts.load(ordering: .acquiring) }

    /// Raises a doubt, as after a failed sync.
    func doubt(because fault: TierFault) {
        shown.withLock { $0 = fault }
        doubts.add(1, ordering: .acquiringAndReleasing)
    }

    /// Syncs the log by `body`, a call of SQLite's, and doubts it if that fails.
    ///
    /// - Parameter isReliedOn: whether a success has to mean that all of the log is on disk. While the log is not sound the sync fails then.
    /// - Returns: SQLite's result code.
    func sync(isReliedOn: Bool, _ body: () -> Int32) -> Int32 {
        turn.withLock { _ in
            let code = body()
            if code != ResultCode.ok.rawValue {
                doubt(because: SQLiteError(ResultCode.failedSync.rawValue, on: nil).fault)
            } else if isReliedOn, !isSound {
                return ResultCode.failedSync.rawValue
            }
            return code
        }
    }

    /// Answers all doubts up to this one: the log was written anew and synced since they came up.
    func answer(_ doubt: UInt64) { answered.store(doubt, ordering: .releasing) }
}

import Dispatch
import PantlerModel
import Synchronization

/// The thread that copies the log into the file while readers read and the writer writes (passive checkpoints wait for nobody).
final class Checkpointer: Sendable {
    private let signal = DispatchSemaphore(value: 0)
    private let isBusy = Atomic(false)
    private let isClosing = Atomic(false)
    private let thread = Mutex<FreeThread?>(nil)
    /// SQLite lets one connection copy at a time, and refuses the second at once: the writer would go on while the log grows.
    private let turn = Mutex(())
    private let log: RateLimitedLogger
    private let trust: WALTrust

    init(log: RateLimitedLogger, trust: WALTrust) {
        self.log = log
        self.trust = trust
    }

    func start(path: String) throws(ThreadFault) {
        // Nobody waits for it; and where it does not keep up, the writer does its work.
        let thread = try FreeThread(name: "disk-checkpoint", nice: 10) { [self] in run(path) }
        self.thread.withLock { $0 = thread }
    }

    /// Begins a checkpoint, unless one is on its way.
    func poke() {
        // Relaxed: the semaphore orders what there is to order.
        guard isBusy.compareExchange(expected: false, desired: true, ordering: .relaxed).exchanged else { return }
        signal.signal()
    }

    /// Copies the log over the caller's connection, once the thread's own checkpoint is over. Blocks.
    ///
    /// - Returns: frames in the log, and how many of them are now in the file.
    /// - Throws: `busy` too where the log is not to be trusted: what is copied from it has to be in it after a power cut.
    @discardableResult
    func copy(
        _ connection: borrowing SQLiteConnection,
        _ kind: SQLiteConnection.Checkpoint = .passive
    ) throws(SQLiteError) -> (frames: Int, copied: Int) {
        try turn.withLock { _ throws(SQLiteError) in
            guard trust.isSound else {
                throw SQLiteError(code: .busy, message: "The log has to be written anew before it is copied.")
            }
            do throws(SQLiteError) {
                return try connection.checkpoint(kind)
            } catch {
                if error.isFailedSync {
                    // Of the log or of the database: SQLite does not say. What was copied is copied again, from a log that was written anew.
                    trust.doubt(because: error.fault)
                    try WALFile(connection).forgetCopied()
                }
                throw error
            }
        }
    }

    /// Returns once the thread has ended.
    func close() {
        isClosing.store(true, ordering: .relaxed)
        signal.signal()
        thread.withLock { $0.take() }?.join()
    }

    private func run(_ path: String) {
        do throws(SQLiteError) {
            let connection = try SQLiteConnection(path: path, mode: .readWrite)
            // For this beginning: passive checkpoints wait for nobody.
            try connection.setBusyTimeout(milliseconds: 1000)
            try connection.keepLogOnClose(true)
            try connection.execute("PRAGMA synchronous = NORMAL; PRAGMA cache_size = -256")
            // The log is open once something was read.
            _ = try connection.integer("PRAGMA schema_version")
            _ = try WatchedWAL(connection, trust: trust, isReliedOn: true)
            while true {
                signal.wait()
                if isClosing.load(ordering: .relaxed) { return }
                do throws(SQLiteError) {
                    try copy(connection)
                } catch {
                    // Busy: the writer is at it. All else shows at the writer too, where it counts.
                    if error.code.primary != .busy { log.warn("A checkpoint failed", error.description) }
                }
                isBusy.store(false, ordering: .relaxed)
            }
        } catch {
            // The writer does it all then, when the log has become long.
            log.warn("The checkpoint thread has no connection", error.description)
        }
    }
}

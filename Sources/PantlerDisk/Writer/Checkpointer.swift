import Dispatch
import PantlerModel
import Synchronization

/// The thread that copies the log into the file while readers read and the writer writes (passive checkpoints wait for nobody).
final class Checkpointer: Sendable {
    private let signal = DispatchSemaphore(value: 0)
    private let isBusy = Atomic(false)
    private let isClosing = Atomic(false)
    private let thread = Mutex<FreeThread?>(nil)
    /// Held while a connection copies: SQLite refuses a second one at once, so that the writer would go on while the log grows.
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
        // Relaxed: the semaphore orders what the two threads share.
        guard isBusy.compareExchange(expected: false, desired: true, ordering: .relaxed).exchanged else { return }
        signal.signal()
    }

    /// Copies the log by the caller's connection, once a checkpoint that is under way has ended. Blocks.
    ///
    /// - Returns: frames in the log, and how many of them are now in the file.
    /// - Throws: `busy` also where the log is not to be trusted: only what is surely in the log on disk may be copied from it.
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
                    // SQLite does not say whether it was a sync of the log or of the database. So the log is written anew, and copied again whole.
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
            // Opening the file may have to wait; passive checkpoints wait for nobody.
            try connection.setBusyTimeout(milliseconds: 1000)
            try connection.keepLogOnClose(true)
            try connection.execute("PRAGMA synchronous = NORMAL; PRAGMA cache_size = -256")
            // SQLite opens the log with the first read.
            _ = try connection.integer("PRAGMA schema_version")
            _ = try WatchedWAL(connection, trust: trust, isReliedOn: true)
            while true {
                signal.wait()
                if isClosing.load(ordering: .relaxed) { return }
                do throws(SQLiteError) {
                    try copy(connection)
                } catch {
                    // Busy means that the writer copies just now. Every other error will show at the writer too, which counts it.
                    if error.code.primary != .busy { log.warn("A checkpoint failed", error.description) }
                }
                isBusy.store(false, ordering: .relaxed)
            }
        } catch {
            // Without this thread the writer copies the log itself, once it has become long.
            log.warn("The checkpoint thread has no connection", error.description)
        }
    }
}

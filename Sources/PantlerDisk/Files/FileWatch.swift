import CSQLite
import Glibc
import PantlerModel
import Synchronization

/// Whether the database's files are still those that were opened, and whole.
///
/// SQLite goes on writing to a file whose name is gone, or belongs to another file by now: every write succeeds, and nothing of it is
/// there after a restart. So the writer looks, a few times a second, at what stands under the names. While that is something else
/// no transaction is begun (`check`), which is a fault like any other: `through` writes are told, the rest waits, and if the
/// files come back all goes on. What was cut off, and pages that are not what was written, do not come back: such a fault
/// stays until the next start, and since nobody can tell what else is missing, nothing is called synced any more.
final class FileWatch: Sendable {
    /// The file that a name stands for, and the link to it where there is one, which SQLite would not follow at the next start.
    private struct Identity: Equatable {
        private let devices: [UInt64]
        private let numbers: [UInt64]

        /// `nil` where there is nothing, with the reason in `errno`.
        init?(name: String) {
            var (link, file) = (Glibc.stat(), Glibc.stat())
            guard lstat(name, &link) == 0, stat(name, &file) == 0 else { return nil }
            devices = [UInt64(link.st_dev), UInt64(file.st_dev)]
            numbers = [UInt64(link.st_ino), UInt64(file.st_ino)]
        }
    }

    private struct State {
        var identities: [String: Identity] = [:]
        var bytes: Int64 = 0
        var lookedAt: UInt64 = 0
        /// That the files are not under their names; `nil` again once they are back.
        var absence: TierFault?
        /// That the files are damaged. It stays until the next start.
        var damage: TierFault?
    }

    private let path: String
    private let log: RateLimitedLogger
    private let state = Mutex(State())
    /// Whether there is a fault, for a look without the lock. Relaxed: the state itself is behind its lock.
    private let isFaulty = Atomic(false)

    private static let pauseNanoseconds: UInt64 = 200_000_000

    init(path: String, log: RateLimitedLogger) {
        self.path = path
        self.log = log
    }

    /// `nil` while all is well.
    var fault: TierFault? {
        guard isFaulty.load(ordering: .relaxed) else { return nil }
        return state.withLock { $0.absence ?? $0.damage }
    }

    /// Whether the names stand for other files than those that are open, which then must not be touched by their names.
    var isAbsent: Bool { isFaulty.load(ordering: .relaxed) && state.withLock { $0.absence != nil } }

    /// - Throws: why no transaction may begin, if so.
    func check() throws(SQLiteError) {
        guard isFaulty.load(ordering: .relaxed), let absence = state.withLock({ $0.absence }) else { return }
        throw SQLiteError(code: .ioError, message: absence.description)
    }

    /// - Throws: why nothing that is committed now may be called synced, if so.
    func checkDamage() throws(SQLiteError) {
        guard isFaulty.load(ordering: .relaxed), let damage = state.withLock({ $0.damage }) else { return }
        throw SQLiteError(code: .notADatabase, message: damage.description)
    }

    /// Notes that a page of the file is not what was written, or cannot be read at all.
    func noteDamage(_ fault: TierFault) {
        let isNew = state.withLock { state in
            defer { state.damage = state.damage ?? fault }
            return state.damage == nil
        }
        isFaulty.store(true, ordering: .relaxed)
        guard isNew else { return }
        log.warn(
            "The database is damaged: nothing counts as synced until it is mended; stop the service and run 'pantler check --data-dir'",
            fault.description
        )
    }

    // MARK: Looking

    /// Remembers which files stand under the names. Called once on the writer's thread, when all of them are there.
    func begin() {
        state.withLock { state in
            for name in Self.names(path) { state.identities[name] = Identity(name: name) }
            state.bytes = DatabaseFile.bytes(of: path)
        }
    }

    /// Looks at the names and at the database's length, unless that was a moment ago. On the writer's thread.
    ///
    /// - Returns: whether it looked, and the names stand for the files that are open.
    func look(_ connection: borrowing SQLiteConnection) -> Bool {
        let now = monotonicNanoseconds()
        let (identities, bytes, isDue) = state.withLock { state in
            let isDue = now - state.lookedAt >= Self.pauseNanoseconds
            if isDue { state.lookedAt = now }
            return (state.identities, state.bytes, isDue)
        }
        guard isDue else { return false }
        set(absence: Self.absence(path, identities))
        if isAbsent { return false }
        let size = DatabaseFile.bytes(of: path)
        state.withLock { $0.bytes = size }
        if size < bytes, let whole = connection.fileBytes, size < whole {
            noteCut("'\(path)' was cut short: it has \(size) bytes\(whole == .max ? "" : " of \(whole)").")
        }
        return true
    }

    /// Notes that the log is not what was written: its changes are lost, but for those that are in memory.
    ///
    /// - Returns: the fault.
    func noteLogCut(_ reason: String? = nil) -> TierFault {
        noteCut("'\(path)-wal' was cut short" + (reason.map { ", and cannot be read: \($0)" } ?? "."))
    }

    @discardableResult
    private func noteCut(_ what: String) -> TierFault {
        let fault = TierFault(.corrupt, what)
        noteDamage(fault)
        return fault
    }

    private func set(absence: TierFault?) {
        let (before, isFaulty) = state.withLock { state in
            defer { state.absence = absence }
            return (state.absence, absence != nil || state.damage != nil)
        }
        self.isFaulty.store(isFaulty, ordering: .relaxed)
        if let absence {
            log.warn("The database is not where it was", absence.description)
        } else if before != nil {
            log.notice("The database is back where it was")
        }
    }

    private static func absence(_ path: String, _ identities: [String: Identity]) -> TierFault? {
        for name in names(path) {
            guard let identity = identities[name] else { continue }
            guard let found = Identity(name: name) else {
                return TierFault(
                    .unavailable,
                    "'\(name)' is not there any more: \(systemReason(errno)). Put it back where it was, or start the service again."
                )
            }
            if found != identity {
                return TierFault(
                    .unavailable,
                    "'\(name)' is another file than the one that was opened. Put that one back, or start the service again."
                )
            }
        }
        return nil
    }

    /// The lock among them: without its name another service would take the folder.
    private static func names(_ path: String) -> [String] {
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
        return [path, path + "-wal", path + "-shm", folder + FolderLock.fileName]
    }
}

extension SQLiteConnection {
    /// Bytes that the file says it has, in its header (https://www.sqlite.org/fileformat2.html#the_database_header); 0 where there is none;
    /// `nil` where it does not say.
    fileprivate var fileBytes: Int64? {
        // By SQLite's own descriptor: to open the file again and close it would take back SQLite's locks (fcntl(2)).
        var file: UnsafeMutablePointer<sqlite3_file>?
        guard sqlite3_file_control(handle, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK, let file,
            let read = file.pointee.pMethods?.pointee.xRead
        else { return nil }
        var header = [UInt8](repeating: 0, count: DatabaseFile.headerCount)
        guard read(file, &header, Int32(header.count), 0) == SQLITE_OK else { return .max }
        return DatabaseFile.bytes(inHeader: header)
    }
}

import CPantler
import CSQLite
import PantlerCodec
import PantlerModel
import Synchronization

/// Reads on the caller's own thread, of pages that are in memory: in SQLite's page cache, or in the system's.
///
/// To hand a read to another thread, and its answer back, costs more than the read does (`Tests/Benchmarks/README.md`). But a thread
/// that serves connections must not wait for a disk. So SQLite reads here by preadv2(2) with RWF_NOWAIT: a read that would have to
/// wait fails, and is left to the `ReaderPool`, as are large values, faults and damage.
final class CachedReads: Sendable {
    enum CachedAnswer {
        case read(Entry?)
        /// The entry has to be read by the `ReaderPool`.
        case unknown
    }

    private struct SlotState {
        var reader: CachedReader?
        var budget = ReadBudget()
    }

    /// Bytes of the largest value that is read here. A larger one takes as long to inflate as a few reads.
    static let largestValue = 16 << 10
    private let slots: [Slot]
    /// Whether the file system can read without waiting. Relaxed: one more try does no harm.
    private let isPossible: Atomic<Bool>

    /// One reader behind its lock. A class, since a `Mutex` cannot be the element of an array.
    private final class Slot: Sendable {
        let state: Mutex<SlotState>

        init(_ reader: sending CachedReader) { state = Mutex(SlotState(reader: reader)) }
    }

    /// - Throws: when a connection cannot be opened.
    init(path: String, _ options: DiskOptions) throws(SQLiteError) {
        isPossible = Atomic(Self.readsCanBeTold)
        var slots: [Slot] = []
        if Self.readsCanBeTold {
            for _ in 0..<options.cachedReads {
                slots.append(Slot(try CachedReader(path: path, cacheBytes: options.readerCacheBytes)))
            }
        }
        self.slots = slots
    }

    /// Whether all of SQLite's reads in this process go through `pantler_pread`, which can be told not to wait. Asked for once, by the means
    /// that SQLite has for that (https://www.sqlite.org/c3ref/vfs.html, xSetSystemCall).
    private static let readsCanBeTold: Bool = {
        guard let files = sqlite3_vfs_find(nil), let set = files.pointee.xSetSystemCall else { return false }
        let read: @convention(c) (Int32, UnsafeMutableRawPointer?, Int, off_t) -> Int = pantler_pread
        // SQLite keeps all its system calls as functions without parameters, and casts them back to what they are.
        let call = unsafeBitCast(read, to: sqlite3_syscall_ptr.self)
        // This build of SQLite uses one of the two, and does not know the other.
        return set(files, "pread64", call) == SQLITE_OK || set(files, "pread", call) == SQLITE_OK
    }()

    /// Complexity: that of a point read of a B-tree.
    func entry(namespace: NamespaceID, key: [UInt8]) -> CachedAnswer {
        read { reader in
            let answer = reader.entry(namespace: namespace, key: key)
            if case .read = answer { return answer }
            return nil
        } ?? .unknown
    }

    /// The head of a key's entry, or that there is none; `nil` = the `ReaderPool` has to read it.
    func head(namespace: NamespaceID, key: [UInt8]) -> EntryHead?? {
        read { $0.head(namespace: namespace, key: key) }
    }

    /// - Parameter body: returns `nil` where the `ReaderPool` has to read.
    private func read<Found: Sendable>(_ body: @Sendable (CachedReader) -> Found?) -> Found? {
        guard isPossible.load(ordering: .relaxed) else { return nil }
        for slot in slots {
            let answer = slot.state.withLockIfAvailable { state -> Found?? in
                guard let reader = state.reader, state.budget.takeOne(at: monotonicNanoseconds()) else { return nil }
                pantler_set_reads_wait(false)
                defer { pantler_set_reads_wait(true) }
                let answer = body(reader)
                if answer == nil, pantler_reads_must_wait() { isPossible.store(false, ordering: .relaxed) }
                return .some(answer)
            }
            if let answer = answer ?? nil { return answer }
        }
        return nil
    }

    func close() {
        for slot in slots { slot.state.withLock { $0.reader = nil } }
    }
}

/// Bounds the reads that are made on threads that have other things to do. Further reads are for the `ReaderPool`, so that hits of memory
/// do not wait for a thousand reads.
struct ReadBudget {
    /// Reads in a stretch of about a millisecond.
    static let reads = 96
    private static let stretchShift: UInt64 = 20

    private var stretch: UInt64 = 0
    private var taken = 0

    /// Whether one more may be made.
    mutating func takeOne(at nanoseconds: UInt64) -> Bool {
        let now = nanoseconds >> Self.stretchShift
        if stretch != now {
            stretch = now
            taken = 0
        }
        taken += 1
        return taken <= Self.reads
    }
}

/// A connection that reads small values. Used by one thread at a time.
final class CachedReader {
    private let connection: SQLiteConnection
    private let byKey: Statement
    private let headByKey: Statement
    private var inflater: Inflater

    init(path: String, cacheBytes: Int64) throws(SQLiteError) {
        // To open the file may take a wait: another process that has just looked at it locks it for a moment.
        connection = try Reader.connect(path: path, cacheBytes: cacheBytes)
        // Pages that hold nothing but a large value are not read.
        let value = "CASE WHEN size <= \(CachedReads.largestValue) THEN value END"
        byKey = try Statement(
            connection,
            "SELECT \(RowReading.columns(value: value)) FROM entries WHERE namespace = ?1 AND key = ?2"
        )
        headByKey = try Statement(connection, RowReading.headQuery)
        inflater = try Reader.makeInflater()
        // A read never waits: it is left to other threads then.
        try connection.setBusyTimeout(milliseconds: 0)
    }

    /// The head of a key's entry, or that there is none; `nil` = the `ReaderPool` has to read it.
    func head(namespace: NamespaceID, key: [UInt8]) -> EntryHead?? {
        defer { headByKey.reset() }
        do {
            return .some(try headByKey.find(namespace: namespace, key: key) ? RowReading.head(headByKey) : nil)
        } catch {
            return nil
        }
    }

    func entry(namespace: NamespaceID, key: [UInt8]) -> CachedReads.CachedAnswer {
        defer { byKey.reset() }
        do {
            guard try byKey.find(namespace: namespace, key: key) else { return .read(nil) }
            if byKey.integer(4) > CachedReads.largestValue { return .unknown }
            return .read(try RowReading.entry(byKey, &inflater))
        } catch {
            // The `ReaderPool` will meet the error again, and can wait for its end or report it.
            return .unknown
        }
    }
}

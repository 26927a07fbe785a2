import CPantler
import CSQLite
import PantlerCodec
import PantlerModel
import Synchronization

/// Reads on the thread that asks, of what is in memory anyway: in SQLite's page cache, or in the system's.
///
/// To hand a read to another thread, and its answer back, costs more than the read does (`Tests/Benchmarks/README.md`). But a thread
/// that serves connections must not wait for a disk. So SQLite reads here by preadv2(2) with RWF_NOWAIT: what would have
/// to wait fails, and is a matter of the `ReaderPool`, as are large values, faults and damage.
final class CachedReads: Sendable {
    enum CachedAnswer {
        case read(Entry?)
        /// It has to be read elsewhere.
        case unknown
    }

    private struct SlotState {
        var reader: CachedReader?
        var budget = ReadBudget()
    }

    /// Bytes of a value. A larger one takes as long to inflate as a few reads.
    static let largestValue = 16 << 10
    private let slots: [Slot]
    /// Whether the file system can do it. Relaxed: one more try does no harm.
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

    /// Has SQLite's reads of this process go through `pantler_pread`, by the way that SQLite has for that
    /// (https://www.sqlite.org/c3ref/vfs.html, xSetSystemCall). Whether it could be done.
    private static let readsCanBeTold: Bool = {
        guard let files = sqlite3_vfs_find(nil), let set = files.pointee.xSetSystemCall else { return false }
        let read: @convention(c) (Int32, UnsafeMutableRawPointer?, Int, off_t) -> Int = pantler_pread
        // SQLite keeps all its system calls as functions without parameters, and casts them back to what they are.
        let call = unsafeBitCast(read, to: sqlite3_syscall_ptr.self)
        // The one that this build of SQLite uses; the other is unknown to it.
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

    /// The head of a key's entry, or that there is none; `nil` = it has to be read elsewhere.
    func head(namespace: NamespaceID, key: [UInt8]) -> EntryHead?? {
        read { $0.head(namespace: namespace, key: key) }
    }

    /// - Parameter body: `nil` = it cannot be told here.
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

/// How many reads are made on a thread that has other things to do: what is more is for others, so that hits of memory do not wait for
/// a thousand of them.
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
        // Opening may be waited for: whoever has just looked at the file locks it for a moment as they go.
        connection = try Reader.connect(path: path, cacheBytes: cacheBytes)
        // The pages that only a large value has are not read.
        let value = "CASE WHEN size <= \(CachedReads.largestValue) THEN value END"
        byKey = try Statement(
            connection,
            "SELECT \(RowReading.columns(value: value)) FROM entries WHERE namespace = ?1 AND key = ?2"
        )
        headByKey = try Statement(connection, RowReading.headQuery)
        inflater = try Reader.makeInflater()
        // A read is not: it is for other threads then.
        try connection.setBusyTimeout(milliseconds: 0)
    }

    /// The head of a key's entry, or that there is none; `nil` = it has to be read elsewhere.
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
            // Whatever it is, it will be met again where it can be waited for and told.
            return .unknown
        }
    }
}

import PantlerModel
import Synchronization

/// All that the tier's threads share.
final class TierContext: Sendable {
    private struct Links {
        weak var delegate: (any LowerTierDelegate)?
        var clock: (any Clock)?
    }

    let path: String
    /// The data folder.
    var folder: String { String(path.dropLast(DiskTier.fileName.utf8.count + 1)) }
    let options: DiskOptions
    /// `options.maxBytes`, or what it was set to since. Relaxed: house-keeping may see a change a little later.
    let maxBytes: Atomic<Int64>
    /// See `isShortOfRoom`.
    let shortage = Atomic(false)
    /// The same for `options.maxFolderBytes`.
    let maxFolderBytes: Atomic<Int64>
    let queue: WriteQueue
    let deflaters: DeflaterPool
    let counters = DiskCounters()
    let filters = KeyFilters()
    let recentUse = RecentUse()
    let walTrust = WALTrust()
    let log: RateLimitedLogger
    let files: FileWatch
    let entryHash: EntryHash
    /// Weak, since the store holds the tier; empty before `start`.
    private let links = Mutex(Links())

    init(path: String, options: DiskOptions, log: RateLimitedLogger, restored: RestoredState) {
        self.path = path
        self.options = options
        maxBytes = Atomic(options.maxBytes)
        maxFolderBytes = Atomic(options.maxFolderBytes)
        self.log = log
        files = FileWatch(path: path, log: log)
        entryHash = EntryHash(seed: restored.state.hashSeed)
        let queue = WriteQueue(
            PendingWrites(limits: QueueLimits(options), voids: restored.voids),
            journaled: JournaledChanges(restored.journal.changes),
            counters: counters
        )
        self.queue = queue
        deflaters = DeflaterPool { queue.noteReady() }
        if !restored.damage.isEmpty {
            counters.corruptions.add(UInt64(restored.damage.count), ordering: .relaxed)
            log.warn("The disk tier found damage in its state", restored.damage.joined(separator: "; ") + ".")
        }
        let damaged = restored.journal.damagedRows
        guard damaged > 0 else { return }
        counters.corruptions.add(UInt64(damaged), ordering: .relaxed)
        log.warn("The disk tier found damage in its journal", "Rows that cannot be read: \(damaged).")
    }

    /// The options, with sizes cut down to what the bound of the folder leaves for them.
    var boundedOptions: DiskOptions {
        let bounds = bounds
        var options = options
        options.walBytes = bounds.logBytes
        options.journalBytes = bounds.journalBytes
        return options
    }

    /// How many bytes each part of the folder may take now. Complexity: O(1).
    var bounds: FolderBounds {
        let bounds = FolderBounds(maxBytes: maxFolderBytes.load(ordering: .relaxed), options)
        return isShortOfRoom ? bounds.withinBallast() : bounds
    }

    /// Whether the ballast was given up, and there is no room to make it again. Relaxed: a thread may see a change a moment later.
    var isShortOfRoom: Bool { shortage.load(ordering: .relaxed) }

    /// Takes a change into the queue, and sees to it that its value is deflated meanwhile if that takes long.
    func enqueue(_ change: Change, _ durability: Durability) -> WriteTicket {
        guard case .entry(let keyed) = change, let deflation = keyed.deflation else {
            return queue.add(change, durability)
        }
        deflation.begin()
        let ticket = queue.add(change, durability)
        if !deflaters.submit(keyed, isUrgent: durability == .through) {
            deflation.leaveToWriter()
            queue.noteReady()
        }
        return ticket
    }

    func link(delegate: any LowerTierDelegate, clock: any Clock) {
        links.withLock { $0 = Links(delegate: delegate, clock: clock) }
    }

    var delegate: (any LowerTierDelegate)? { links.withLock { $0.delegate } }

    /// The present moment; `nil` before `start`, when nothing counts as expired.
    var now: Timestamp? { links.withLock { $0.clock }?.now() }

    /// Rows that expire until this moment are to be removed: the present one, but an earlier one while the clock is in doubt (`ClockDoubt`).
    var expiryNow: Timestamp? {
        links.withLock { $0.clock }.map { min($0.now(), ($0 as? ServiceClock)?.expiryHorizon ?? .never) }
    }

    /// The clock's monotonic time, in microseconds; 0 before `start`.
    var microseconds: UInt64 { links.withLock { $0.clock }?.monotonicMicroseconds() ?? 0 }

    /// Where the service's time line stands; only a `ServiceClock` has one that outlives the process.
    var anchor: ClockAnchor? { (links.withLock { $0.clock } as? ServiceClock)?.anchor() }

    func address(_ namespace: NamespaceID, _ key: [UInt8]) -> EntryAddress {
        EntryAddress(namespace: namespace, key: key, hash: entryHash.hash(namespace: namespace, key: key))
    }

    /// Counts a read that failed, logs it, and has a damaged row removed.
    func noteReadFailure(_ failure: ReadFailure) {
        counters.noteRead(failure.fault)
        switch failure {
        case .fault(let fault):
            // A page of the file is damaged, and not only a row in it.
            if fault.cause == .corrupt { files.noteDamage(fault) }
            log.warn("The disk tier cannot read", fault.description)
        case .damaged(let row, let checksum, let fault):
            log.warn("The disk tier found a damaged row", fault.description)
            _ = queue.add(.control(.removeDamaged(row: row, checksum: checksum)))
        }
    }
}

/// Why a row could not be read.
enum ReadFailure: Error {
    case fault(TierFault)
    /// The row is there, but is not what was written.
    case damaged(row: Int64, checksum: Int64, TierFault)

    var fault: TierFault {
        switch self {
        case .fault(let fault), .damaged(_, _, let fault): fault
        }
    }
}

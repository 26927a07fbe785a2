internal import Dispatch
internal import Logging
internal import PantlerDisk
internal import PantlerModel
internal import Synchronization

extension BenchmarkGroup {
    private static let rows = 20_000
    private static let reads = 5000
    private static let writes = 10_000
    /// Writers that wait at a time.
    private static let waiters = 64
    private static let bursts = 16

    /// The disk tier by itself, on a file that the system has in its cache.
    static func disk(in folder: String) throws -> BenchmarkGroup {
        let stock = try DiskStock(folder: folder)
        let hash = EntryHash(seed: stock.tier.persistedState().hashSeed)
        let addresses = hash.addresses(Samples.shuffled(rows), in: 1)
        for address in addresses { stock.put(address) }
        try stock.tier.flush()
        return BenchmarkGroup([
            Benchmark("disk: read, one at a time", operations: reads) {
                for address in addresses[..<reads] { try stock.read([address]) }
                return reads
            },
            Benchmark("disk: read, queued back to back", operations: reads) {
                try stock.read(addresses[..<reads])
                return reads
            },
            Benchmark("disk: put, behind, until all are committed", operations: writes) {
                for address in addresses[..<writes] { try stock.putBehind(address) }
                try stock.tier.flush()
                return writes
            },
            Benchmark("disk: put, through, \(waiters) waiters", operations: waiters * bursts) {
                for burst in 0..<bursts { try stock.putThrough(addresses[(burst * waiters)..<(burst + 1) * waiters]) }
                return waiters * bursts
            },
            Benchmark("disk: put, through, one waiter", operations: 4 * bursts) {
                for address in addresses[..<(4 * bursts)] { try stock.putThrough([address]) }
                return 4 * bursts
            },
        ]) {
            stock.tier.close()
        }
    }
}

/// A tier with rows of one value, and calls that wait. Of one thread.
private final class DiskStock {
    let tier: DiskTier
    private let delegate = QuietDelegate()
    private let value = Samples.value(1)
    private var version: Version = 0

    init(folder: String) throws {
        let logger = Logger(label: "benchmarks") { _ in SwiftLogNoOpLogHandler() }
        tier = try DiskTier.open(folder: folder, logger: logger)
        tier.start(delegate: delegate, clock: ServiceClock(readings: .system(), resuming: nil))
    }

    @discardableResult
    func put(_ address: EntryAddress) -> WriteTicket {
        version += 1
        let entry = Entry(value: value, kind: .json, version: version, expiresAt: .never)
        return tier.enqueue(.put(address, entry, PutOptions(compressionThreshold: 1024, compressionLevel: 6)))
    }

    /// As the store answers a write: once the queue has room.
    func putBehind(_ address: EntryAddress) throws {
        let ticket = put(address)
        try wait(for: 1) { done in
            if tier.settle(ticket, .behind, completion: { done($0 == nil) }) { done(true) }
        }
    }

    /// Puts all of them, then waits until all are committed and synced.
    func putThrough(_ addresses: ArraySlice<EntryAddress>) throws {
        try wait(for: addresses.count) { done in
            for address in addresses {
                let ticket = put(address)
                if tier.settle(ticket, .through, completion: { done($0 == nil) }) { done(true) }
            }
        }
    }

    /// Asks for all of them, then waits until all are there.
    func read(_ addresses: ArraySlice<EntryAddress>) throws {
        try wait(for: addresses.count) { done in
            for address in addresses {
                tier.read(address) { result in
                    if case .success(.some) = result { done(true) } else { done(false) }
                }
            }
        }
    }

    private func wait(for count: Int, _ begin: (@escaping @Sendable (Bool) -> Void) -> Void) throws {
        let countdown = Countdown(count)
        begin { countdown.note($0) }
        guard countdown.wait() else { throw Failure("the disk tier did not do what it was asked") }
    }
}

/// Blocks a thread until so many answers have come.
private final class Countdown: Sendable {
    private let left: Atomic<Int>
    private let failures = Atomic(0)
    private let end = DispatchSemaphore(value: 0)

    init(_ count: Int) {
        left = Atomic(count)
    }

    func note(_ isWell: Bool) {
        if !isWell { failures.wrappingAdd(1, ordering: .relaxed) }
        // Releasing and acquiring: whoever takes the last one away has seen all failures.
        if left.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0 { end.signal() }
    }

    /// Whether all went well.
    func wait() -> Bool {
        end.wait()
        return failures.load(ordering: .relaxed) == 0
    }
}

/// A store that has nothing to say: no entry is invalid, none has a bound.
private final class QuietDelegate: LowerTierDelegate {
    func isMissing(_ address: EntryAddress, touched version: Version) {}
    func invalidAt(namespace: NamespaceID, version: Version, staleTTL: Int64, tags: [EntryTag]) -> Timestamp? { nil }
    func departed(_ address: EntryAddress, cause: DepartureCause) {}
    func maxDisk(of namespace: NamespaceID) -> Int64? { nil }
    func lastUse(of address: EntryAddress) -> UInt64? { nil }
}

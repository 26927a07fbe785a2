import PantlerModel
import Synchronization

/// Walks over the keys of all rows to fill a `KeyFilter`, on a thread of its own. For a million rows it takes about half a second.
final class KeyWalk: Sendable {
    /// Keys that are read in one transaction: a longer one would keep the log from being used again.
    private static let step = 1 << 14
    /// Pause before the next attempt, after one that failed; nanoseconds.
    private static let pauseNanoseconds: UInt64 = 60_000_000_000

    private let context: TierContext
    private let restsUntil = Atomic<UInt64>(0)
    private let slot = ThreadSlot()

    init(context: TierContext) {
        self.context = context
    }

    /// Begins a walk if a new filter is due. Called by the writer between transactions: rows that are committed later are inserted in the new
    /// filter as they come, and all others are seen by the walk.
    ///
    /// - Parameter rows: tells how many rows there are.
    func beginIfDue(_ rows: () -> Int) {
        // Relaxed: only the writer's thread and the walk's, of which there is one at a time, look at it.
        guard context.filters.isDue, monotonicNanoseconds() >= restsUntil.load(ordering: .relaxed) else { return }
        let rows = rows()
        let filter = context.filters.begin(rows: rows)
        if rows == 0 { return context.filters.finish(isWhole: true) }
        do throws(ThreadFault) {
            // It does not begin where the tier is closing.
            _ = try slot.begin(name: "disk-key-walk", nice: 10) { [self] in run(filter) }
        } catch {
            fail(error.description)
        }
    }

    /// Ends the walk, and begins no other. Blocks.
    func close() { slot.close() }

    private func run(_ filter: KeyFilter) {
        do throws(SQLiteError) {
            let reader = try Reader(path: context.path, cacheBytes: context.options.readerCacheBytes)
            let hash = context.entryHash
            var last: (NamespaceID, [UInt8])? = (0, [])
            while let from = last, !slot.isClosed {
                last = try reader.keys(after: from, limit: Self.step) { _, namespace, key in
                    filter.insert(hash.hash(namespace: namespace, key: key))
                }
            }
            context.filters.finish(isWhole: last == nil)
        } catch {
            fail(error.description)
        }
    }

    private func fail(_ reason: String) {
        restsUntil.store(monotonicNanoseconds() + Self.pauseNanoseconds, ordering: .relaxed)
        context.filters.finish(isWhole: false)
        context.log.warn("Which keys are on disk is not known: every miss asks the file", reason)
    }
}

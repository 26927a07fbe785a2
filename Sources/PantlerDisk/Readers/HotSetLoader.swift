import PantlerModel

/// Reads the hot set of the previous run, on a thread of its own, so that other reads need not wait behind it.
///
/// Rows carry no hash. One pass over the index of keys, which holds nothing else, computes each key's and finds the rows; then these
/// are read in the order of the hot set. For a million rows the pass takes about half a second. It takes 32 bytes an entry of the hot set
/// while memory is still empty, and half of that while it fills.
final class HotSetLoader: Sendable {
    typealias Body = @Sendable ([(EntryAddress, Entry)]) -> Bool

    /// Entries handed over at a time.
    private static let batch = 256
    /// Keys that are read in one transaction: a longer one would keep the log from being used again.
    private static let step = 1 << 14

    private let context: TierContext
    private let slot = ThreadSlot()

    init(context: TierContext) {
        self.context = context
    }

    /// - Parameter completion: called once, whatever ends it: on the thread, or here where there is none.
    func load(_ body: @escaping Body, completion: @escaping @Sendable () -> Void) {
        do throws(ThreadFault) {
            let hasBegun = try slot.begin(name: "disk-hot-set") { [self] in
                run(body)
                completion()
            }
            if !hasBegun { completion() }
        } catch {
            context.log.warn("The hot set is not loaded", error.description)
            completion()
        }
    }

    /// Ends the loading, and begins no other. Blocks.
    func close() { slot.close() }

    private func run(_ body: Body) {
        do throws(SQLiteError) {
            let reader = try Reader(path: context.path, cacheBytes: context.options.readerCacheBytes)
            let rows = try findRows(reader)
            var next = rows.startIndex
            while next < rows.endIndex, !slot.isClosed {
                let end = min(next + Self.batch, rows.endIndex)
                let entries = rows[next..<end].compactMap { read($0, reader) }
                if !entries.isEmpty, !body(entries) { return }
                next = end
            }
        } catch {
            context.noteReadFailure(.fault(error.fault))
        }
    }

    /// Numbers of the rows of the hot set, hottest first.
    private func findRows(_ reader: Reader) throws(SQLiteError) -> [Int64] {
        let ranks = Ranks(try reader.hotSet())
        guard !ranks.isEmpty else { return [] }
        var found: [(rank: UInt32, row: Int64)] = []
        let hash = context.entryHash
        var last: (NamespaceID, [UInt8])? = (0, [])
        while let from = last, !slot.isClosed {
            last = try reader.keys(after: from, limit: Self.step) { row, namespace, key in
                if let rank = ranks[hash.hash(namespace: namespace, key: key)] { found.append((rank, row)) }
            }
        }
        found.sort { $0.rank < $1.rank }
        return found.map { $0.row }
    }

    /// The places of hashes in the hot set. Sorted, since a dictionary of millions takes three times as much.
    private struct Ranks {
        private let places: [(hash: UInt64, rank: UInt32)]

        init(_ bytes: [UInt8]) {
            places = bytes.withUnsafeBytes { bytes in
                (0..<bytes.count / 8).map { rank in
                    let hash = bytes.loadUnaligned(fromByteOffset: rank * 8, as: UInt64.self)
                    return (UInt64(littleEndian: hash), UInt32(clamping: rank))
                }
            }.sorted { $0.hash < $1.hash }
        }

        var isEmpty: Bool { places.isEmpty }

        /// Complexity: O(log n).
        subscript(hash: UInt64) -> UInt32? {
            var (low, high) = (0, places.count)
            while low < high {
                let middle = (low + high) / 2
                if places[middle].hash < hash { low = middle + 1 } else { high = middle }
            }
            return low < places.count && places[low].hash == hash ? places[low].rank : nil
        }
    }

    /// `nil` if the row is gone, void or damaged, or if something newer waits in the queue.
    private func read(_ row: Int64, _ reader: Reader) -> (EntryAddress, Entry)? {
        do throws(ReadFailure) {
            let voids = context.queue.read { $0.voids }
            guard let found = try reader.entry(row: row) else { return nil }
            let address = context.address(found.namespace, found.key)
            let (look, void) = context.queue.look(address)
            // The row may have become void before it was read, or since.
            let isVoid = found.entry.version <= max(void, voids.through(found.namespace))
            guard case .below(let touches) = look, !isVoid else { return nil }
            return touches.applied(to: found.entry).map { (address, $0) }
        } catch {
            context.noteReadFailure(error)
            return nil
        }
    }
}

import Glibc
package import PantlerModel
import Synchronization

/// A part of the tier: the entries whose hashes begin with the same bits. Its owner guards it by a lock.
///
/// A record (`RecordSlab`) is found by its hash (`HashIndex`), stands in its namespace's `RecencyList`, and points at its payload
/// (`PayloadLog`). This file finds and promotes entries, `MemoryShard+Write` adds, changes and removes them, `MemoryShard+Walk` shows all
/// of a namespace, and `MemoryShard+Reclaim` compacts memory and makes the oldest entries leave.
package struct MemoryShard: ~Copyable {
    let number: Int
    let ledger: Ledger
    var records: RecordSlab
    var index: HashIndex
    var log: PayloadLog
    /// The recency list of each namespace, by slot.
    let lists: UnsafeMutablePointer<RecencyList>
    /// All slots that were ever opened are below this number.
    var slotEnd = 0
    /// The segment that is being emptied, and the offset up to which that is done; -1 = none.
    var victim = -1
    var victimOffset = 0

    init(number: Int, ledger: Ledger, geometry: Geometry) {
        self.number = number
        self.ledger = ledger
        records = RecordSlab(geometry, ledger: ledger)
        index = HashIndex(geometry, ledger: ledger)
        log = PayloadLog(geometry, ledger: ledger, shard: number)
        lists = .allocate(capacity: ledger.slotCapacity)
        lists.initialize(repeating: RecencyList(), count: ledger.slotCapacity)
        ledger.holdForGood(ledger.slotCapacity * MemoryLayout<RecencyList>.stride)
    }

    deinit {
        for number in 1..<max(1, records.end) where records[number].pointee.isLive {
            releaseLargeValue(records[number].pointee)
        }
        lists.deallocate()
    }

    /// The entry of a key, whether or not it has expired. Complexity: O(1) on average.
    ///
    /// - Parameter hint: what `MemoryTier.readAhead` has found for the hash, which may be out of date.
    package func find(
        _ hash: UInt64,
        _ slot: NamespaceSlot,
        _ key: UnsafeRawBufferPointer,
        hint: EntryHint = .none
    ) -> EntryRef? {
        // A live record with this hash, slot and key is the one to which the chain would lead: there is only one.
        if hint.number != 0, hint.number < records.end, records[hint.number].pointee.isLive,
            isEntry(hint.number, hash, slot, key)
        {
            return EntryRef(number: hint.number)
        }
        var number = index.first(hash)
        while number != 0 {
            if isEntry(number, hash, slot, key) { return EntryRef(number: number) }
            number = records[number].pointee.next
        }
        return nil
    }

    /// Whether a live record is the entry of a key.
    @inline(__always)
    private func isEntry(
        _ number: UInt32,
        _ hash: UInt64,
        _ slot: NamespaceSlot,
        _ key: UnsafeRawBufferPointer
    ) -> Bool {
        let record = records[number]
        guard record.pointee.hash == hash, record.pointee.slot == slot, record.pointee.keyLength == key.count else {
            return false
        }
        // A record that has come so far nearly always is the entry. All that is read next is fetched at once, so that the waits for memory
        // overlap.
        readAhead(record)
        let offset = record.pointee.hasExtras ? 4 + Payload.extrasHeader : 4
        return equal(log.address(record.pointee.payload) + offset, key)
    }

    package func view(_ ref: EntryRef) -> EntryView { view(records[ref.number].pointee) }

    /// The value of an entry as an object that outlives the lock; `nil` if it is not a large one.
    package func largeValue(_ ref: EntryRef) -> LargeValue? {
        let record = records[ref.number].pointee
        return record.isLarge ? largeValue(record).takeUnretainedValue() : nil
    }

    /// When an entry was last used, in microseconds of the clock's monotonic time.
    package func lastUse(_ ref: EntryRef) -> UInt64 { records[ref.number].pointee.stamp }

    /// Makes an entry the most recently used of its namespace. `now` is in microseconds of the clock's monotonic time.
    package mutating func promote(_ ref: EntryRef, now: UInt64) {
        lists[records[ref.number].pointee.slot].promote(ref.number, now: now, records)
    }

    /// Visits the entries of a namespace among at most `limit` records, in no particular order. `from` is 0 at first, and then what the
    /// call before has returned, until that is `nil`.
    ///
    /// An entry that is there the whole time is visited at least once; twice, in rare cases, when it was moved meanwhile. (Records are
    /// looked at from the last to the first, and only ever moved towards the first.)
    package func visit(
        _ slot: NamespaceSlot,
        from: UInt32,
        limit: Int,
        _ body: (EntryView) -> Void
    ) -> UInt32? {
        var number = from == 0 ? records.end : min(from, records.end)
        var left = limit
        while number > 1 {
            if left == 0 { return number }
            left -= 1
            number -= 1
            let record = records[number].pointee
            if record.isLive, record.slot == slot { body(view(record)) }
        }
        return nil
    }

    @inline(__always)
    func view(_ record: Record) -> EntryView {
        let block = UnsafeRawPointer(log.address(record.payload))
        let payload = Payload(record, at: block)
        return EntryView(
            key: block.bytes(payload.keyOffset, payload.keyLength),
            value: record.isLarge
                ? largeValue(record)._withUnsafeGuaranteedRef { $0.bytes }
                : block.bytes(payload.valueOffset, payload.valueLength),
            isJSON: record.isJSON,
            keyIsPlain: record.hasPlainKey,
            isLarge: record.isLarge,
            mediaType: block.bytes(payload.mediaOffset, payload.mediaLength),
            encodedTags: block.bytes(payload.tagsOffset, payload.tagsLength),
            hash: record.hash,
            version: record.version,
            expiresAt: record.expiresAt,
            staleTTL: payload.hasExtras ? Payload.staleTTL(at: block) : 0
        )
    }

    func payload(_ record: Record) -> Payload { Payload(record, at: log.address(record.payload)) }

    /// Bytes that an entry costs its namespace: see `Record`.
    func cost(_ record: Record) -> Int {
        let size = Self.fixedCost + payload(record).size
        return record.isLarge ? size + largeValue(record)._withUnsafeGuaranteedRef { $0.heldBytes } : size
    }

    /// Bytes of a record and of its share of the index.
    static let fixedCost = MemoryLayout<Record>.stride + 4

    func largeValue(_ record: Record) -> Unmanaged<LargeValue> {
        let block = log.address(record.payload)
        let address = block.loadUnaligned(fromByteOffset: payload(record).valueOffset, as: UnsafeRawPointer.self)
        return Unmanaged.fromOpaque(address)
    }

    func releaseLargeValue(_ record: Record) {
        guard record.isLarge else { return }
        largeValue(record).release()
    }
}

// All memory that a shard points at is its own, but for the ledger, which is `Sendable`. A shard cannot be copied, so that whoever receives
// it has all of that memory.
extension MemoryShard: @unchecked Sendable {}

private func equal(_ stored: UnsafeRawPointer, _ key: UnsafeRawBufferPointer) -> Bool {
    guard let base = key.baseAddress else { return false }
    return memcmp(stored, base, key.count) == 0
}

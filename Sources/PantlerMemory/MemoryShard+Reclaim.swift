import PantlerModel
import Synchronization

// How a shard's memory is kept dense, and how its oldest entries leave.
extension MemoryShard {
    /// Lets entries be put into a slot from now on.
    package mutating func open(_ slot: NamespaceSlot) {
        lists[slot].isAttached = true
        slotEnd = max(slotEnd, slot + 1)
    }

    /// Lets nothing be put into a slot any more.
    package mutating func close(_ slot: NamespaceSlot) { lists[slot].isAttached = false }

    /// The oldest entry that an order concerns; `nil` where there is none, or where one in another shard may be older. Complexity: O(1) for
    /// one namespace, else O(slots).
    package func oldest(_ order: EvictionOrder) -> OldestEntry? {
        let oldest = oldestList(order.slot)
        guard oldest.stamp != Ledger.noStamp, oldest.stamp <= order.runnerUp else { return nil }
        let number = lists[oldest.slot].oldest
        return OldestEntry(
            ref: EntryRef(number: number),
            hash: records[number].pointee.hash,
            slot: oldest.slot,
            lastUse: oldest.stamp
        )
    }

    /// Removes an entry to make room.
    ///
    /// - Parameter isEviction: whether the entry counts as evicted; one that was dead already does not.
    package mutating func evict(_ entry: OldestEntry, isEviction: Bool) {
        remove(entry.ref)
        if isEviction { ledger.usage(entry.slot).pointee.evictions.wrappingAdd(1, ordering: .relaxed) }
    }

    /// Tells the other shards how old the oldest entry is, after an order was carried out.
    package mutating func endEviction(_ order: EvictionOrder) {
        let oldest = oldestList(order.slot)
        if order.slot == nil {
            ledger.signals(number).pointee.oldest.store(oldest.stamp, ordering: .relaxed)
            releaseIfEmpty()
        } else {
            // A shard that became empty keeps its memory here, for the entry for which room is made. Otherwise a small namespace alone in
            // the tier would take pages from the system and give them back at each write.
            ledger.publishOldest(oldest.slot, shard: number, oldest.stamp)
        }
    }

    private func oldestList(_ slot: NamespaceSlot?) -> (slot: NamespaceSlot, stamp: UInt64) {
        if let slot { return (slot, lists[slot].oldestStamp(records)) }
        var best = (slot: 0, stamp: Ledger.noStamp)
        for slot in 0..<slotEnd where lists[slot].oldest != 0 {
            let stamp = lists[slot].oldestStamp(records)
            if stamp < best.stamp { best = (slot, stamp) }
        }
        return best
    }

    /// Moves the living blocks of the sparsest segment to the log's head, so that the segment can be given back. It looks at about `limit`
    /// bytes of the segment, and goes on behind them the next time. It begins with a segment only if at least `worth` bytes of it are dead.
    ///
    /// - Returns: `false` where there is no memory to move anything to.
    @discardableResult
    mutating func compact(limit: Int, worth: Int) -> Bool {
        if victim < 0 {
            guard log.sparsest >= 0, log.reclaimable >= worth else { return true }
            victim = log.sparsest
            victimOffset = 0
        }
        let end = victimOffset + limit
        while victim >= 0, victimOffset < end {
            let old = log.reference(victim, offset: victimOffset)
            let block = log.address(old)
            let owner = block.load(as: UInt32.self)
            if owner == PayloadLog.dead {
                victimOffset += Int(block.load(fromByteOffset: 4, as: UInt32.self))
                continue
            }
            let size = payload(records[owner].pointee).size
            guard let new = log.allocate(size) else { return false }
            log.address(new).copyMemory(from: block, byteCount: size)
            records[owner].pointee.payload = new
            victimOffset += size
            freePayload(old, size)
        }
        return true
    }

    /// Moves the last records to free numbers before them while many numbers are free. Each removal of an entry moves at most two, so that
    /// no call has to move many.
    mutating func shrinkSlab() {
        guard records.isSparse else { return }
        for _ in 0..<2 {
            let last = records.end - 1
            if records[last].pointee.isLive { move(last) }
            records.dropLast()
        }
    }

    private mutating func move(_ old: UInt32) {
        // The slab does not grow here: records are moved only while there are free numbers.
        guard let new = records.take() else { return }
        records[new].initialize(to: records[old].pointee)
        index.renumber(old, to: new, records)
        lists[records[new].pointee.slot].renumbered(new, records)
        log.address(records[new].pointee.payload).storeBytes(of: new, as: UInt32.self)
        records.free(old)
    }

    /// Gives all memory back if the shard has no entry left.
    package mutating func releaseIfEmpty() {
        guard records.liveCount == 0, records.end > 1 else { return }
        victim = -1
        log.removeAll()
        index.removeAll()
        while records.end > 1 { records.dropLast() }
    }
}

/// The entry whose turn it is to leave.
package struct OldestEntry {
    package let ref: EntryRef
    package let hash: UInt64
    package let slot: NamespaceSlot
    /// When the entry was last used, in microseconds of the clock's monotonic time.
    package let lastUse: UInt64
}

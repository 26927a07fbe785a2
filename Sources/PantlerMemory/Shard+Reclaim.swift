import PantlerInsight
import PantlerModel
import Synchronization

// What keeps a shard's memory dense, and what makes its oldest entries leave.
extension Shard {
    mutating func attach(_ slot: NamespaceSlot) {
        (tally + slot).initialize(to: NamespaceTally())
        if slot >= slotEnd { ledger.holdForGood((slot + 1 - slotEnd) * MemoryLayout<NamespaceTally>.stride) }
        lists[slot].isAttached = true
        slotEnd = max(slotEnd, slot + 1)
    }

    /// From now on nothing is added for the slot.
    mutating func close(_ slot: NamespaceSlot) { lists[slot].isAttached = false }

    /// Evicts oldest entries, those of `slot` or of all namespaces, as long as none in another shard can be older and
    /// `more` says so; calls `left` for each. Then tells the other shards how old its oldest is now.
    ///
    /// Complexity: O(evicted), times the slots when all namespaces are asked.
    mutating func evict(
        _ slot: NamespaceSlot?,
        notAfter runnerUp: UInt64,
        while more: () -> Bool,
        _ reason: (EntryView, NamespaceSlot) -> MissReason,
        _ left: (Evicted) -> Void
    ) {
        var oldest = oldestList(slot)
        while oldest.stamp != Ledger.noStamp, oldest.stamp <= runnerUp, more() {
            let number = lists[oldest.slot].oldest
            let hash = records[number].pointee.hash
            let lastUse = records[number].pointee.stamp
            let reason = reason(view(records[number].pointee), oldest.slot)
            remove(EntryRef(number: number))
            missMemory.record(hash, reason)
            switch reason {
            case .evicted: ledger.usage(oldest.slot).pointee.evictions.wrappingAdd(1, ordering: .relaxed)
            case .expired: tally[oldest.slot].expirations &+= 1
            case .absent, .deleted, .invalidated, .rejected: break
            }
            left(Evicted(hash: hash, slot: oldest.slot, lastUse: lastUse))
            oldest = oldestList(slot)
        }
        if slot == nil {
            ledger.signals(number).pointee.oldest.store(oldest.stamp, ordering: .relaxed)
            releaseIfEmpty()
        } else {
            // What an empty shard holds stays for the entry that makes this one leave: a small namespace alone in the
            // tier would else take pages from the system and give them back at each write.
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

    /// Moves the living blocks of the sparsest segment to the log's head, so that the segment can be given back; looks
    /// at about `limit` bytes of it and goes on there next time. Does nothing unless at least `worth` of its bytes are
    /// dead.
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

    /// Moves the last records into free numbers before them while many are free. Each removal moves at most two, so
    /// that no call has to move many.
    mutating func shrinkSlab() {
        guard records.isSparse else { return }
        for _ in 0..<2 {
            let last = records.end - 1
            if records[last].pointee.isLive { move(last) }
            records.dropLast()
        }
    }

    private mutating func move(_ old: UInt32) {
        // There are free numbers, or nobody would be moved: the slab does not grow here.
        guard let new = records.take() else { return }
        records[new].initialize(to: records[old].pointee)
        index.renumber(old, to: new, records)
        lists[records[new].pointee.slot].renumbered(new, records)
        log.address(records[new].pointee.payload).storeBytes(of: new, as: UInt32.self)
        records.free(old)
    }

    /// Gives back what the last entry left behind.
    mutating func releaseIfEmpty() {
        guard records.liveCount == 0, records.end > 1 else { return }
        victim = -1
        log.removeAll()
        index.removeAll()
        while records.end > 1 { records.dropLast() }
    }
}

package import PantlerModel
import Synchronization

extension MemoryShard {
    /// Adds or replaces an entry, which is then the most recently used of its namespace.
    ///
    /// The memory that this takes may put the tier over its bound until the steps of `RoomMaking` are taken. Complexity: O(size).
    package mutating func insert(
        _ hash: UInt64,
        _ slot: NamespaceSlot,
        _ key: UnsafeRawBufferPointer,
        _ content: EntryContent,
        now: UInt64
    ) -> InsertOutcome {
        let existing = find(hash, slot, key)
        if store(hash, slot, key, content, existing, .newest(now: now)) { return .stored }
        // Where `store` fails, it has changed nothing.
        if let existing { remove(existing) }
        return .rejected
    }

    /// Adds an entry whose key is not in this shard, as the least recently used of its namespace. Entries that are added in the order of
    /// their last use, the latest first, stand in that order then, behind all that are used meanwhile.
    ///
    /// - Parameter stamp: when the entry was last used, in microseconds of the clock's monotonic time.
    /// - Returns: `.rejected` also where the key is in this shard.
    /// - Complexity: O(size).
    package mutating func insertOldest(
        _ hash: UInt64,
        _ slot: NamespaceSlot,
        _ key: UnsafeRawBufferPointer,
        _ content: EntryContent,
        stamp: UInt64
    ) -> InsertOutcome {
        if find(hash, slot, key) == nil, store(hash, slot, key, content, nil, .oldest(stamp: stamp)) { return .stored }
        return .rejected
    }

    /// Changes version, expiry and stale TTL of an entry (a touch). This is done in place unless the entry gets a stale TTL and has no room
    /// for one: then it is written anew, and removed where that fails.
    package mutating func setLife(_ ref: EntryRef, version: Version, expiresAt: Timestamp, staleTTL: Int64) {
        let record = records[ref.number]
        if record.pointee.hasExtras {
            log.address(record.pointee.payload).storeBytes(of: staleTTL, toByteOffset: 4, as: Int64.self)
            record.pointee.version = version
            record.pointee.expiresAt = expiresAt
        } else if staleTTL == 0 {
            record.pointee.version = version
            record.pointee.expiresAt = expiresAt
        } else {
            rewrite(ref, version: version, expiresAt: expiresAt, staleTTL: staleTTL)
        }
    }

    package mutating func remove(_ ref: EntryRef) {
        let number = ref.number
        let record = records[number].pointee
        let large = record.isLarge ? largeValue(record).takeUnretainedValue() : nil
        let size = payload(record).size
        ledger.removed(record.slot, bytes: Self.fixedCost + size + (large?.heldBytes ?? 0))
        if let large {
            ledger.release(large.heldBytes)
            largeValue(record).release()
        }
        lists[record.slot].remove(number, records)
        index.remove(number, records)
        freePayload(record.payload, size)
        records.free(number)
        ledger.signals(self.number).pointee.entries.store(records.liveCount, ordering: .relaxed)
        shrinkSlab()
    }

    /// Removes entries of a namespace, at most `limit`; returns how many it removed.
    package mutating func removeAll(_ slot: NamespaceSlot, limit: Int) -> Int {
        var count = 0
        while count < limit, lists[slot].oldest != 0 {
            remove(EntryRef(number: lists[slot].oldest))
            count += 1
        }
        return count
    }

    /// Writes an entry. Returns `false`, with nothing changed, if the slot is closed, the entry can never fit, or there is no memory.
    ///
    /// - Parameter place: where the entry is to stand in its namespace's recency list. An existing entry becomes the newest or stays where
    ///   it is.
    private mutating func store(
        _ hash: UInt64,
        _ slot: NamespaceSlot,
        _ key: UnsafeRawBufferPointer,
        _ content: EntryContent,
        _ existing: EntryRef?,
        _ place: RecencyPlace
    ) -> Bool {
        guard lists[slot].isAttached else { return false }
        let isLarge = content.value.count > MemoryTier.largeValueBytes
        let shape = Payload(key: key, content, isLarge: isLarge)
        var cost = Self.fixedCost + shape.size + (isLarge ? content.value.count : 0)
        guard canFit(cost, slot), shape.size <= log.segmentBytes else { return false }
        var large: LargeValue?
        if isLarge {
            large = content.largeValue ?? LargeValue(copying: content.value)
            guard let large else { return false }
            cost += large.heldBytes - content.value.count
            guard canFit(cost, slot) else { return false }
        }

        var flags: UInt64 = 0
        if content.isJSON { flags |= Record.Flags.json }
        if EntryView.isPlain(key) { flags |= Record.Flags.plainKey }
        if shape.hasExtras { flags |= Record.Flags.extras }
        if isLarge { flags |= Record.Flags.large }
        var record = Record(
            hash: hash,
            slot: slot,
            keyLength: key.count,
            version: content.version,
            expiresAt: content.expiresAt,
            valueLength: isLarge ? 0 : content.value.count,
            flags: flags
        )

        if let existing, overwrite(existing, shape, record, key, content) {
            if case .newest(let now) = place { promote(existing, now: now) }
            return true
        }
        guard let reference = log.allocate(shape.size) else { return false }
        guard let number = existing?.number ?? records.take() else {
            log.free(reference, shape.size)
            return false
        }
        record.payload = reference
        write(shape, at: log.address(reference), number: number, key, content, large)
        if let large { ledger.hold(large.heldBytes) }
        if let existing {
            replace(existing, by: record, cost: cost)
            if case .newest(let now) = place { promote(existing, now: now) }
            return true
        }
        records[number].initialize(to: record)
        guard index.add(number, records) else {
            if let large {
                ledger.release(large.heldBytes)
                largeValue(record).release()
            }
            records.free(number)
            log.free(reference, shape.size)
            return false
        }
        var isOldest = lists[slot].oldest == 0
        switch place {
        case .newest(let now): lists[slot].add(number, now: now, records)
        case .unchanged: lists[slot].add(number, now: 0, records)
        case .oldest(let stamp):
            lists[slot].addOldest(number, stamp: stamp, records)
            isOldest = true
        }
        ledger.added(slot, bytes: cost, stamp: records[number].pointee.stamp, shard: self.number, isOldest: isOldest)
        ledger.signals(self.number).pointee.entries.store(records.liveCount, ordering: .relaxed)
        return true
    }

    /// Whether an entry of this cost fits into its namespace's quota, and into the tier once all other entries have left. Beside the entry
    /// a shard needs a segment, a chunk of records and a block of buckets, which together have less than twice a segment's bytes.
    private func canFit(_ cost: Int, _ slot: NamespaceSlot) -> Bool {
        let usage = ledger.usage(slot)
        if Int64(cost) > usage.pointee.maxBytes.load(ordering: .relaxed) { return false }
        if usage.pointee.maxEntries.load(ordering: .relaxed) < 1 { return false }
        let fixed = ledger.fixed.load(ordering: .relaxed)
        return cost + 2 * log.segmentBytes + fixed <= ledger.softBound(segmentBytes: log.segmentBytes)
    }

    private func write(
        _ shape: Payload,
        at block: UnsafeMutableRawPointer,
        number: UInt32,
        _ key: UnsafeRawBufferPointer,
        _ content: EntryContent,
        _ large: LargeValue?
    ) {
        block.storeBytes(of: number, as: UInt32.self)
        (block + shape.keyOffset).copy(key)
        shape.writeExtras(content, at: block)
        if let large {
            let pointer = UnsafeRawPointer(Unmanaged.passRetained(large).toOpaque())
            block.storeBytes(of: pointer, toByteOffset: shape.valueOffset, as: UnsafeRawPointer.self)
        } else {
            (block + shape.valueOffset).copy(content.value)
        }
    }

    /// Writes an entry into the block of the one that it replaces. Returns `false`, with nothing changed, where the sizes differ, one of
    /// the two values is large, or something that is to be written lies in that block.
    private func overwrite(
        _ existing: EntryRef,
        _ shape: Payload,
        _ record: Record,
        _ key: UnsafeRawBufferPointer,
        _ content: EntryContent
    ) -> Bool {
        let old = records[existing.number]
        guard !record.isLarge, !old.pointee.isLarge, payload(old.pointee).size == shape.size else { return false }
        let block = log.address(old.pointee.payload)
        let range = UnsafeRawPointer(block)..<UnsafeRawPointer(block + shape.size)
        for bytes in [key.baseAddress, content.value.baseAddress, content.mediaType.baseAddress] {
            if let bytes, range.contains(bytes) { return false }
        }
        write(shape, at: block, number: existing.number, key, content, nil)
        old.pointee.replaceContent(by: record, payload: old.pointee.payload)
        return true
    }

    /// Gives an existing entry another content and payload. Its places in the index and in the recency list stay.
    private mutating func replace(_ existing: EntryRef, by record: Record, cost: Int) {
        let old = records[existing.number].pointee
        let oldCost = self.cost(old)
        let size = payload(old).size
        if old.isLarge {
            let large = largeValue(old)
            ledger.release(large._withUnsafeGuaranteedRef { $0.heldBytes })
            large.release()
        }
        records[existing.number].pointee.replaceContent(by: record, payload: record.payload)
        freePayload(old.payload, size)
        ledger.usage(record.slot).pointee.bytes.wrappingAdd(Int64(cost - oldCost), ordering: .relaxed)
    }

    /// Writes an entry anew that gets a stale TTL and has no room for one.
    private mutating func rewrite(_ ref: EntryRef, version: Version, expiresAt: Timestamp, staleTTL: Int64) {
        let record = records[ref.number].pointee
        let view = view(record)
        let content = EntryContent(
            value: view.value,
            isJSON: view.isJSON,
            mediaType: view.mediaType,
            tags: [],
            version: version,
            expiresAt: expiresAt,
            staleTTL: staleTTL,
            largeValue: largeValue(ref)
        )
        if !store(record.hash, record.slot, view.key, content, ref, .unchanged) {
            // There is no memory, or no room in the quota for 12 bytes more. No entry is better than one that lives too long or too short.
            remove(ref)
        }
    }

    mutating func freePayload(_ reference: UInt32, _ size: Int) {
        log.free(reference, size)
        // The log may have given back the segment that was being emptied.
        if victim >= 0, log.segment(victim).base == nil { victim = -1 }
    }
}

/// Where an entry that is written is to stand in its namespace's recency list.
private enum RecencyPlace {
    case newest(now: UInt64)
    case oldest(stamp: UInt64)
    /// An existing entry stays where it is.
    case unchanged
}

extension Record {
    /// Takes over another record's content, and keeps its own places in chain and list.
    fileprivate mutating func replaceContent(by other: Record, payload: UInt32) {
        var merged = other
        merged.next = next
        merged.newer = newer
        merged.older = older
        merged.stamp = stamp
        merged.payload = payload
        self = merged
    }
}

import PantlerModel
import Support
import Synchronization

@testable import PantlerMemory

// What must hold of a tier at rest.
extension LockedTier {
    /// Sentences about what is wrong; empty when all is well. Takes the shards' locks one after the other: sums over
    /// shards are exact only while no one else is at work. Complexity: O(everything).
    func checkInvariants() -> [String] {
        let ledger = memory.ledger
        var faults: [String] = []
        var census = Census(slots: ledger.slotCapacity)
        withEachShard { number, shard in
            faults += shard.checkInvariants(&census).map { "shard \(number): \($0)" }
            let entries = ledger.signals(number).pointee.entries.load(ordering: .relaxed)
            if entries != shard.records.liveCount { faults.append("shard \(number): entries published wrongly") }
        }
        for slot in 0..<ledger.slotCapacity {
            let usage = usage(slot)
            if usage.entries != census.entries[slot] || usage.bytes != census.bytes[slot] {
                faults.append("slot \(slot): \(usage), but \(census.entries[slot]), \(census.bytes[slot]) are there")
            }
        }
        let held = census.held + ledger.fixed.load(ordering: .relaxed)
        if held != bytes { faults.append("\(held) bytes are held, \(bytes) are counted") }
        return faults
    }
}

/// Sums over shards.
struct Census {
    var entries: [Int64]
    var bytes: [Int64]
    var held = 0

    init(slots: Int) {
        entries = Array(repeating: 0, count: slots)
        bytes = entries
    }
}

extension MemoryShard {
    func checkInvariants(_ census: inout Census) -> [String] {
        checkIndex() + checkSlab() + checkLists() + checkLog() + checkVictim() + count(&census)
    }

    /// Each living record is in the chain of its bucket, once.
    private func checkIndex() -> [String] {
        var faults: [String] = []
        var found = 0
        for bucket in 0..<index.bucketCount {
            var number = index.firstInBucket(bucket)
            while number != 0 {
                guard number < records.end, records[number].pointee.isLive else {
                    return ["bucket \(bucket) leads to the free record \(number)"]
                }
                if index.bucket(records[number].pointee.hash) != bucket { faults.append("\(number) in a wrong bucket") }
                found += 1
                if found > records.liveCount { return ["a chain runs in a circle"] }
                number = records[number].pointee.next
            }
        }
        if found != records.liveCount { faults.append("\(found) records in the index, \(records.liveCount) alive") }
        return faults
    }

    private func checkSlab() -> [String] {
        let free = records.freeNumbers()
        var faults: [String] = []
        if free.count != records.freeCount { faults.append("\(free.count) free records, \(records.freeCount) counted") }
        if Set(free).count != free.count { faults.append("a record is free twice") }
        for number in free where number >= records.end || records[number].pointee.isLive {
            faults.append("the free record \(number) is not free")
        }
        return faults
    }

    /// Lists lead both ways, their stamps fall, and no published bound is above what is there.
    private func checkLists() -> [String] {
        var faults: [String] = []
        var total = 0
        var oldest = Ledger.noStamp
        for slot in 0..<ledger.slotCapacity {
            let list = lists[slot]
            var number = list.newest
            var newer: UInt32 = 0
            var count = 0
            while number != 0 {
                let record = records[number].pointee
                if record.slot != slot { faults.append("record \(number) in the list of slot \(slot)") }
                if record.newer != newer { faults.append("the list of slot \(slot) does not lead back at \(number)") }
                if newer != 0, record.stamp > records[newer].pointee.stamp {
                    faults.append("stamps grow in slot \(slot)")
                }
                newer = number
                number = record.older
                count += 1
                if count > records.liveCount { return ["the list of slot \(slot) runs in a circle"] }
            }
            if newer != list.oldest || count != Int(list.count) {
                faults.append("the list of slot \(slot) ends wrongly")
            }
            total += count
            let stamp = list.oldestStamp(records)
            oldest = min(oldest, stamp)
            if ledger.oldestBound(slot, shard: self.number) > stamp { faults.append("bound of slot \(slot) too high") }
        }
        if total != records.liveCount { faults.append("\(total) records in lists, \(records.liveCount) alive") }
        if ledger.signals(number).pointee.oldest.load(ordering: .relaxed) > oldest { faults.append("bound too high") }
        return faults
    }

    /// Segments are chains of blocks, whose living bytes add up, and which lead back to their records.
    private func checkLog() -> [String] {
        var faults: [String] = []
        var total = 0
        var blocks = 0
        for segment in 0..<log.segmentCount where log.segment(segment).base != nil {
            var offset = 0
            var live = 0
            while offset < log.segment(segment).used {
                let reference = log.reference(segment, offset: offset)
                let block = log.address(reference)
                let owner = block.load(as: UInt32.self)
                var size = Int(block.load(fromByteOffset: 4, as: UInt32.self))
                if owner != PayloadLog.dead {
                    guard owner > 0, owner < records.end, records[owner].pointee.payload == reference else {
                        return ["a block of segment \(segment) leads back to \(owner), which is elsewhere"]
                    }
                    size = payload(records[owner].pointee).size
                    live += size
                    blocks += 1
                }
                if size < 8 { return ["a block of \(size) bytes in segment \(segment)"] }
                offset += size
            }
            if live != log.segment(segment).live { faults.append("segment \(segment) has \(live) living bytes") }
            if live == 0, segment != log.head { faults.append("segment \(segment) is empty and still there") }
            if segment != log.head, log.sparsest < 0 || log.segment(segment).dead > log.reclaimable {
                faults.append("segment \(segment) is sparser than the sparsest")
            }
            total += live
        }
        if total != log.liveBytes { faults.append("\(total) living bytes, \(log.liveBytes) counted") }
        if blocks != records.liveCount { faults.append("\(blocks) living blocks, \(records.liveCount) records") }
        let published = ledger.signals(number).pointee.reclaimable.load(ordering: .relaxed)
        if published != log.reclaimable { faults.append("reclaimable bytes published wrongly") }
        return faults
    }

    private func checkVictim() -> [String] {
        if victim < 0 { return [] }
        if victim == log.head { return ["the head is being emptied"] }
        return victim < log.segmentCount && log.segment(victim).base != nil
            ? [] : ["a segment that is not there is emptied"]
    }

    private func count(_ census: inout Census) -> [String] {
        var faults: [String] = []
        for number in 1..<max(1, records.end) where records[number].pointee.isLive {
            let record = records[number].pointee
            census.entries[record.slot] += 1
            census.bytes[record.slot] += Int64(cost(record))
            if record.isLarge { census.held += largeValue(record)._withUnsafeGuaranteedRef { $0.heldBytes } }
            let view = view(record)
            if view.keyIsPlain != EntryView.isPlain(view.key) { faults.append("key of \(number) is flagged wrongly") }
            if find(record.hash, record.slot, view.key)?.number != number { faults.append("\(number) is not found") }
        }
        census.held += records.heldBytes + index.heldBytes
        census.held += (0..<log.segmentCount).count { log.segment($0).base != nil } * log.segmentBytes
        return faults
    }
}

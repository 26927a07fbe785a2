/// The entries of one namespace in one shard, in the order of their last access. Stamps never grow from newest to oldest, even where
/// threads have read the clock in another order.
struct RecencyList {
    var newest: UInt32 = 0
    var oldest: UInt32 = 0
    private(set) var count: UInt32 = 0
    /// Whether the list belongs to a namespace that is there. Nothing is added to it otherwise.
    var isAttached = false

    /// Adds a record as the newest. Its stamp is `now`, but not smaller than that of the newest before it.
    mutating func add(_ number: UInt32, now: UInt64, _ records: borrowing RecordSlab) {
        count += 1
        link(number, now: now, records)
    }

    /// Adds a record as the oldest. Its stamp is `stamp`, but not larger than that of the oldest before it.
    mutating func addOldest(_ number: UInt32, stamp: UInt64, _ records: borrowing RecordSlab) {
        count += 1
        let record = records[number]
        var stamp = min(stamp, Record.largestStamp)
        record.pointee.newer = oldest
        record.pointee.older = 0
        if oldest == 0 {
            newest = number
        } else {
            records[oldest].pointee.older = number
            stamp = min(stamp, records[oldest].pointee.stamp)
        }
        record.pointee.stamp = stamp
        oldest = number
    }

    mutating func remove(_ number: UInt32, _ records: borrowing RecordSlab) {
        count -= 1
        unlink(number, records)
    }

    mutating func promote(_ number: UInt32, now: UInt64, _ records: borrowing RecordSlab) {
        if number == newest {
            let record = records[number]
            record.pointee.stamp = max(record.pointee.stamp, min(now, Record.largestStamp))
            return
        }
        unlink(number, records)
        link(number, now: now, records)
    }

    /// Tells a record's neighbours its new number, to which its content was copied already.
    mutating func renumbered(_ number: UInt32, _ records: borrowing RecordSlab) {
        let record = records[number].pointee
        if record.newer == 0 { newest = number } else { records[record.newer].pointee.older = number }
        if record.older == 0 { oldest = number } else { records[record.older].pointee.newer = number }
    }

    /// The stamp of the oldest record; `Ledger.noStamp` when the list is empty.
    func oldestStamp(_ records: borrowing RecordSlab) -> UInt64 {
        oldest == 0 ? Ledger.noStamp : records[oldest].pointee.stamp
    }

    private mutating func link(_ number: UInt32, now: UInt64, _ records: borrowing RecordSlab) {
        let record = records[number]
        var stamp = min(now, Record.largestStamp)
        record.pointee.newer = 0
        record.pointee.older = newest
        if newest == 0 {
            oldest = number
        } else {
            let previous = records[newest]
            previous.pointee.newer = number
            stamp = max(stamp, previous.pointee.stamp)
        }
        record.pointee.stamp = stamp
        newest = number
    }

    private mutating func unlink(_ number: UInt32, _ records: borrowing RecordSlab) {
        let record = records[number].pointee
        if record.newer == 0 { newest = record.older } else { records[record.newer].pointee.older = record.older }
        if record.older == 0 { oldest = record.newer } else { records[record.older].pointee.newer = record.newer }
    }
}

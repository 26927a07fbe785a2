/// The entries of one namespace in one shard, by last access. Stamps never grow from newest to oldest, whatever clocks
/// the threads have read.
struct RecencyList {
    var newest: UInt32 = 0
    var oldest: UInt32 = 0
    private(set) var count: UInt32 = 0
    /// Whether the namespace is there; nothing is added to a list whose namespace has left.
    var isAttached = false

    /// Adds a record as the newest, stamped `now`, or as its predecessor if the clock reads earlier than that.
    mutating func add(_ number: UInt32, now: UInt64, _ records: borrowing RecordSlab) {
        count += 1
        link(number, now: now, records)
    }

    /// Adds a record as the oldest, stamped `stamp`, or as its successor in the list if that was used earlier.
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

    /// The record's number has changed, and its content was copied already.
    mutating func renumbered(_ number: UInt32, _ records: borrowing RecordSlab) {
        let record = records[number].pointee
        if record.newer == 0 { newest = number } else { records[record.newer].pointee.older = number }
        if record.older == 0 { oldest = number } else { records[record.older].pointee.newer = number }
    }

    /// Stamp of the oldest; `Ledger.noStamp` when empty.
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

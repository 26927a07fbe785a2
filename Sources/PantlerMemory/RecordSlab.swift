/// The records of a shard, by numbers that begin at 1. The free ones among them form a list.
///
/// A slab only knows which numbers are taken. The shard moves records together, so that memory can be given back, because it knows what
/// points at them.
struct RecordSlab: ~Copyable {
    private var chunks: BlockTable
    private let shift: UInt32
    private let mask: UInt32
    /// One more than the largest number in use or free; 1 when there is none.
    private(set) var end: UInt32 = 1
    private(set) var freeCount = 0
    private var firstFree: UInt32 = 0

    init(_ geometry: Geometry, ledger: Ledger) {
        shift = UInt32(geometry.chunkShift)
        mask = UInt32(geometry.chunkRecords - 1)
        chunks = BlockTable(blockBytes: geometry.chunkRecords * MemoryLayout<Record>.stride, ledger: ledger)
    }

    // This is called several times in each request, and so are the address calculations of the log and the index.
    @inline(__always)
    subscript(number: UInt32) -> UnsafeMutablePointer<Record> {
        (chunks[Int(number &>> shift)] + Int(number & mask) * MemoryLayout<Record>.stride)
            .assumingMemoryBound(to: Record.self)
    }

    var heldBytes: Int { chunks.heldBytes }
    var liveCount: Int { Int(end) - 1 - freeCount }

    /// A number for a new record, whose memory is not initialised; `nil` when there is no memory.
    mutating func take() -> UInt32? {
        if firstFree != 0 {
            let number = firstFree
            unlinkFree(number)
            return number
        }
        guard end < UInt32.max - 1 else { return nil }
        if Int(end >> shift) == chunks.count, !chunks.grow() { return nil }
        end += 1
        return end - 1
    }

    mutating func free(_ number: UInt32) {
        let record = self[number]
        record.pointee.markFree()
        record.pointee.newer = 0
        record.pointee.older = firstFree
        if firstFree != 0 { self[firstFree].pointee.newer = number }
        firstFree = number
        freeCount += 1
    }

    /// Whether so many numbers are free that the last records should move down.
    var isSparse: Bool { freeCount > Int(end) / 8 + Int(mask) }

    /// Takes the last number, which must be free by now, out of use.
    mutating func dropLast() {
        unlinkFree(end - 1)
        end -= 1
        // Number 0 is never given, so the first chunk goes with record 1.
        if end & mask == 0 || end == 1 { chunks.shrink() }
    }

    private mutating func unlinkFree(_ number: UInt32) {
        let record = self[number].pointee
        if record.newer == 0 { firstFree = record.older } else { self[record.newer].pointee.older = record.older }
        if record.older != 0 { self[record.older].pointee.newer = record.newer }
        freeCount -= 1
    }

    /// The numbers on the list of free records, for the tests' `checkInvariants`. Complexity: O(free).
    func freeNumbers() -> [UInt32] {
        var numbers: [UInt32] = []
        var number = firstFree
        while number != 0 {
            numbers.append(number)
            number = self[number].pointee.older
        }
        return numbers
    }
}

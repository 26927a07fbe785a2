import Synchronization

/// The payloads of a shard, in blocks of 4-byte units. A block is appended to the newest of several segments, and named by a 32-bit
/// reference.
///
/// A freed block stays where it is, marked as dead. A segment goes back to the system when its last living block is freed.
/// `MemoryShard.compact` empties segments with few living blocks, by moving these to the newest segment.
struct PayloadLog: ~Copyable {
    struct Segment {
        /// `nil` = no segment has this number.
        var base: UnsafeMutableRawPointer?
        var used = 0
        var live = 0
        /// Bytes of freed blocks. The unused end of a sealed segment does not count: to empty the segment would not win it, since the
        /// segment to which the blocks are moved has an unused end too.
        var dead: Int { used - live }
    }

    /// The word at the head of a dead block, in place of the number of its record. The block's size follows.
    static let dead = UInt32.max

    let segmentBytes: Int
    private let shift: UInt32
    private let ledger: Ledger
    private let shard: Int
    private(set) var segmentCount = 0
    private var segments: UnsafeMutablePointer<Segment>
    private var capacity = 0
    /// The segment that is appended to; -1 = none.
    private(set) var head = -1
    /// The segment with the most dead bytes, the head excepted; -1 = none.
    private(set) var sparsest = -1
    private(set) var liveBytes = 0

    init(_ geometry: Geometry, ledger: Ledger, shard: Int) {
        segmentBytes = geometry.segmentBytes
        shift = UInt32(geometry.segmentShift - 2)
        self.ledger = ledger
        self.shard = shard
        segments = .allocate(capacity: 0)
    }

    deinit {
        for number in 0..<segmentCount {
            if let base = segments[number].base { ledger.extents.give(base, segmentBytes) }
        }
        segments.deallocate()
    }

    func segment(_ number: Int) -> Segment { segments[number] }

    func number(of reference: UInt32) -> Int { Int(reference >> shift) }

    func reference(_ number: Int, offset: Int) -> UInt32 { UInt32(number) << shift | UInt32(offset >> 2) }

    /// The address of a block. It is valid until the block is freed or the shard is compacted.
    @inline(__always)
    func address(_ reference: UInt32) -> UnsafeMutableRawPointer {
        // A reference in use always points into a segment that is mapped.
        segments[Int(reference &>> shift)].base.unsafelyUnwrapped + Int(reference & (1 &<< shift &- 1)) &<< 2
    }

    /// Room for a block of `size` bytes, a multiple of 4 and at least 8; `nil` when there is no memory.
    mutating func allocate(_ size: Int) -> UInt32? {
        if head < 0 || segments[head].used + size > segmentBytes {
            guard openSegment() else { return nil }
        }
        let offset = segments[head].used
        segments[head].used += size
        segments[head].live += size
        liveBytes += size
        return reference(head, offset: offset)
    }

    mutating func free(_ reference: UInt32, _ size: Int) {
        let block = address(reference)
        block.storeBytes(of: Self.dead, as: UInt32.self)
        block.storeBytes(of: UInt32(size), toByteOffset: 4, as: UInt32.self)
        let number = Int(reference >> shift)
        segments[number].live -= size
        liveBytes -= size
        if number == head {
            // The segment has no living block, and can be filled from its beginning again.
            if segments[number].live == 0 { segments[number].used = 0 }
        } else if segments[number].live == 0 {
            close(number)
        } else if sparsest < 0 || segments[number].dead >= segments[sparsest].dead {
            sparsest = number
            publish()
        }
    }

    /// Gives all memory back. To be called only when no block is alive.
    mutating func removeAll() {
        if head >= 0 { unmap(head) }
        head = -1
        segmentCount = 0
    }

    /// Dead bytes of the sparsest segment.
    var reclaimable: Int { sparsest < 0 ? 0 : segments[sparsest].dead }

    private mutating func openSegment() -> Bool {
        var number = 0
        while number < segmentCount, segments[number].base != nil { number += 1 }
        guard number < 1 << (32 - shift), let base = ledger.extents.take(segmentBytes) else { return false }
        if number == segmentCount { appendNumber() }
        segments[number] = Segment(base: base)
        ledger.hold(segmentBytes)
        let sealed = head
        head = number
        if sealed >= 0 {
            if segments[sealed].live == 0 {
                unmap(sealed)
            } else if sparsest < 0 || segments[sealed].dead > segments[sparsest].dead {
                sparsest = sealed
                publish()
            }
        }
        return true
    }

    private mutating func appendNumber() {
        if segmentCount == capacity {
            let larger = UnsafeMutablePointer<Segment>.allocate(capacity: max(8, capacity * 2))
            larger.moveInitialize(from: segments, count: segmentCount)
            segments.deallocate()
            segments = larger
            capacity = max(8, capacity * 2)
        }
        (segments + segmentCount).initialize(to: Segment())
        segmentCount += 1
    }

    /// Gives back a segment that has no living block. Complexity: O(segments), once for each segment's worth of freed bytes.
    private mutating func close(_ number: Int) {
        unmap(number)
        guard sparsest == number else { return }
        sparsest = -1
        for other in 0..<segmentCount where other != head && segments[other].base != nil {
            if sparsest < 0 || segments[other].dead > segments[sparsest].dead { sparsest = other }
        }
        publish()
    }

    private mutating func unmap(_ number: Int) {
        if let base = segments[number].base { ledger.extents.give(base, segmentBytes) }
        segments[number] = Segment()
        ledger.release(segmentBytes)
    }

    private func publish() {
        ledger.signals(shard).pointee.reclaimable.store(reclaimable, ordering: .relaxed)
    }
}

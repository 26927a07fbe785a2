import Glibc
import Testing

@testable import PantlerMemory

@Suite("The address space of a tier")
struct ExtentsTests {
    /// Pages of a block that have memory.
    private func residentPages(_ block: UnsafeMutableRawPointer, _ bytes: Int) throws -> Int {
        var pages = [UInt8](repeating: 0, count: Pages.roundUp(bytes) / Pages.size)
        try #require(mincore(block, bytes, &pages) == 0)
        return pages.count { $0 & 1 != 0 }
    }

    @Test("blocks of all sizes, over many extents, are zeroed and apart from each other")
    func blocks() throws {
        let extents = Extents()
        var blocks: [(start: UnsafeMutableRawPointer, bytes: Int)] = []
        for number in 0..<40 {
            for bytes in [8 << 10, 96 << 10, 5_000_000] {
                let block = try #require(extents.take(bytes))
                #expect(Int(bitPattern: block) % Pages.size == 0)
                #expect(block.load(as: UInt64.self) == 0)
                #expect(block.load(fromByteOffset: bytes - 8, as: UInt64.self) == 0)
                block.storeBytes(of: UInt64(number), as: UInt64.self)
                block.storeBytes(of: UInt64(number), toByteOffset: bytes - 8, as: UInt64.self)
                blocks.append((block, bytes))
            }
        }
        for (number, block) in blocks.enumerated() {
            #expect(block.start.load(as: UInt64.self) == UInt64(number / 3))
            #expect(block.start.load(fromByteOffset: block.bytes - 8, as: UInt64.self) == UInt64(number / 3))
        }
        blocks.sort { $0.start < $1.start }
        for (block, next) in zip(blocks, blocks.dropFirst()) { #expect(block.start + block.bytes <= next.start) }
    }

    @Test("a block that is given back has no memory, and is the next of its size, zeroed again")
    func givingBack() throws {
        let extents = Extents()
        let bytes = 64 << 10
        let block = try #require(extents.take(bytes))
        block.initializeMemory(as: UInt8.self, repeating: 7, count: bytes)
        #expect(try residentPages(block, bytes) == 16)
        extents.give(block, bytes)
        #expect(try residentPages(block, bytes) == 0)
        #expect(extents.take(bytes * 2) != block)
        #expect(extents.take(bytes) == block)
        #expect(UnsafeRawBufferPointer(start: block, count: bytes).allSatisfy { $0 == 0 })
    }

    @Test("a large value gives its memory back, and counts with what it takes", arguments: [16_385, 40_000, 65_535])
    func largeValues(count: Int) throws {
        let blocks = Extents()
        var value = [UInt8](repeating: 7, count: count).withUnsafeBytes { LargeValue(copying: $0, among: blocks) }
        // Beside it, so that there is something behind it whatever it comes from.
        let other = [UInt8](repeating: 8, count: count).withUnsafeBytes { LargeValue(copying: $0, among: blocks) }
        let start = try #require(UnsafeMutableRawPointer(mutating: value?.bytes.baseAddress))
        #expect(Int(bitPattern: start) % Pages.size == 0)
        #expect(value?.heldBytes == Pages.roundUp(count) + 64)
        #expect(try residentPages(start, count) == Pages.roundUp(count) / Pages.size)
        value = nil
        #expect(try residentPages(start, count) == 0)
        #expect(other?.bytes.allSatisfy { $0 == 8 } == true)
    }

    @Test("the kernel makes no large page where a block was given back, and may again once all blocks are in use")
    func noLargePages() throws {
        let extents = Extents()
        let bytes = 64 << 10
        // The first extent has no large pages; all of the second.
        let blocks = try (0..<1024).map { _ in try #require(extents.take(bytes)) }.suffix(512)
        for block in blocks { block.storeBytes(of: 1, as: UInt8.self) }
        let first = try #require(blocks.min { $0 < $1 })
        try #require(blocks.allSatisfy { $0 < first + 512 * bytes })
        // One in eight is left.
        let given = blocks.filter { (Int(bitPattern: $0) - Int(bitPattern: first)) / bytes % 8 != 0 }
        for block in given { extents.give(block, bytes) }
        let left = try residentPages(first, 512 * bytes)
        // What the kernel does by itself in a while (MADV_COLLAPSE, Linux 6.1).
        let collapse: Int32 = 25
        for page in 0..<16 { #expect(madvise(first + page * (2 << 20), 2 << 20, collapse) != 0) }
        #expect(try residentPages(first, 512 * bytes) == left)
        for _ in given { #expect(try #require(extents.take(bytes)) >= first) }
        for page in 0..<16 {
            #expect(madvise(first + page * (2 << 20), 2 << 20, collapse) == 0 || errno != EINVAL, "it may try")
        }
    }

    @Test("a block may be larger than an extent, and where there is no memory there is none")
    func large() throws {
        let extents = Extents()
        let block = try #require(extents.take(100 << 20))
        block.storeBytes(of: 1, toByteOffset: (100 << 20) - 1, as: UInt8.self)
        #expect(extents.take(1 << 60) == nil)
        #expect(extents.take(4096) != nil)
    }
}

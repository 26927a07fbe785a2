import Dispatch
import PantlerCodec
import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("Values are deflated before they are written")
struct DeflationTests {
    private func text(_ count: Int, _ seed: UInt64 = 1) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        // Longer than the window in which zlib looks for repetitions.
        let block = (0..<40_000).map { _ in UInt8.random(in: 97...104, using: &generator) }
        var text: [UInt8] = []
        while text.count < count { text += block.prefix(count - text.count) }
        return text
    }

    @Test("they come to their rows deflated, and are read as they were sent")
    func stored() throws {
        let fixture = try Fixture()
        let entry = fixture.entry(text(300_000))
        #expect(fixture.putThrough("k", entry) == nil)
        #expect(try fixture.read("k") == entry)
        #expect(try fixture.number("SELECT form FROM entries") == StoredForm.deflated.rawValue)
        #expect(try fixture.number("SELECT length(value) FROM entries") < 200_000)
        #expect(fixture.tier.health().compressionInBytes == 300_000)
        let plain = fixture.entry((0..<5000).map { _ in UInt8.random(in: .min ... .max) })
        #expect(fixture.putThrough("random", plain) == nil)
        #expect(try fixture.read("random") == plain)
        #expect(try FolderCheck.run(folder: fixture.folder).findings == [])
    }

    @Test("a write that waits for its sync does not wait for the deflating of others")
    func besides() throws {
        let fixture = try Fixture { $0.queueBytes = 1 << 30 }
        let size = 2 << 20
        let value = text(size)
        for number in 0..<20 { fixture.put("slow\(number)", fixture.entry(value), level: 9) }
        #expect(fixture.putThrough("quick", fixture.entry("v")) == nil)
        #expect(fixture.tier.health().compressionInBytes < UInt64(20 * size), "it has overtaken some of them")
        try fixture.tier.flush()
        #expect(fixture.tier.health().compressionInBytes == UInt64(20 * size))
        try fixture.reopen()
        for number in 0..<20 { #expect(try fixture.read("slow\(number)")?.value == value) }
    }

    @Test("what was overwritten while it waited is not deflated, and not kept")
    func overwritten() throws {
        let finished = Shared(0)
        let pool = DeflaterPool { finished.update { $0 += 1 } }
        let options = PutOptions(compressionThreshold: 1, compressionLevel: 9)
        let address = EntryAddress(namespace: 1, key: [1], hash: 1)
        let value = text(1 << 20)
        func change() -> KeyedChange {
            let entry = Entry(value: value, kind: .json, version: 1, expiresAt: .never)
            let keyed = KeyedChange(address, .put(entry, options))
            keyed.deflation?.begin()
            return keyed
        }
        #expect(!pool.submit(change(), isUrgent: false), "it has no threads yet")
        pool.start(threads: 1)
        let last = change()
        for _ in 0..<200 { _ = pool.submit(change(), isUrgent: false) }
        #expect(pool.submit(last, isUrgent: false))
        try eventually("the last one is deflated") { last.deflation?.isWaiting == false }
        #expect(last.deflation?.stored != nil)
        // One may have been under way each time that its owner let it go.
        #expect(finished.value < 100, "\(finished.value)")
        pool.close()
        #expect(!pool.submit(change(), isUrgent: true))
    }

    @Test("what somebody waits for is deflated between the pieces of what nobody waits for")
    func urgentFirst() throws {
        let signal = DispatchSemaphore(value: 0)
        let pool = DeflaterPool { signal.signal() }
        let options = PutOptions(compressionThreshold: 1, compressionLevel: 9)
        func change(_ size: Int) -> KeyedChange {
            let entry = Entry(value: text(size), kind: .json, version: 1, expiresAt: .never)
            let keyed = KeyedChange(EntryAddress(namespace: 1, key: [1], hash: 1), .put(entry, options))
            keyed.deflation?.begin()
            return keyed
        }
        let large = change(20 << 20)
        let small = change(10_000)
        pool.start(threads: 1)
        #expect(pool.submit(large, isUrgent: false))
        #expect(pool.submit(small, isUrgent: true))
        signal.wait()
        #expect(small.deflation?.isWaiting == false)
        #expect(large.deflation?.isWaiting == true)
        pool.close()
    }
}

import PantlerModel
import Testing

@testable import PantlerDisk

@Suite("Changes in the journal")
struct JournaledChangesTests {
    private func address(_ key: String) -> EntryAddress {
        EntryAddress(namespace: 1, key: Array(key.utf8), hash: UInt64(truncatingIfNeeded: key.hashValue))
    }

    private func delete(_ key: String, _ version: Version) -> KeyedChange {
        KeyedChange(address(key), .delete(version: version))
    }

    @Test("the latest of a key counts, whatever the order, and both generations are seen")
    func latest() {
        var changes = JournaledChanges()
        changes.add(delete("a", 3), ticket: 10)
        changes.add(delete("a", 2), ticket: 11)
        changes.add(delete("b", 4), ticket: 12)
        #expect(changes.change(of: address("a"))?.version == 3)
        #expect(changes.count == 2)
        let bytes = changes.bytes
        #expect(changes.isMerged(9) && !changes.isMerged(10) && !changes.isMerged(12))
        #expect(changes.beginMerge().count == 2)
        #expect(changes.count == 0 && changes.bytes == 0)
        changes.add(delete("a", 5), ticket: 13)
        #expect(changes.change(of: address("a"))?.version == 5)
        #expect(changes.change(of: address("b"))?.version == 4)
        var last: [[UInt8]: Version] = [:]
        changes.visit { last[$0.address.key] = $0.version }
        #expect(last == [Array("a".utf8): 5, Array("b".utf8): 4])
        #expect(!changes.isMerged(10))
        #expect(changes.endMerge().count == 2)
        #expect(changes.isMerged(12) && !changes.isMerged(13))
        #expect(changes.change(of: address("b")) == nil)
        #expect(changes.bytes > 0 && changes.bytes < bytes)
    }

    @Test("what an earlier run left is older than all tickets")
    func restored() {
        var changes = JournaledChanges([delete("a", 2), delete("a", 1), delete("b", 3)])
        #expect(changes.count == 2)
        #expect(changes.change(of: address("a"))?.version == 2)
        #expect(!changes.isMerged(0))
        #expect(changes.beginMerge().count == 2)
        #expect(changes.endMerge().count == 2)
        #expect(changes.isMerged(0))
    }
}

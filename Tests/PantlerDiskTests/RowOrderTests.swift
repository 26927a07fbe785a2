import PantlerModel
import Support
import Testing

@testable import PantlerDisk

@Suite("The order of rows")
struct RowOrderTests {
    private func changes(_ keys: [(NamespaceID, [UInt8])]) -> JournaledChanges.Changes {
        var changes: JournaledChanges.Changes = [:]
        for (place, (namespace, key)) in keys.enumerated() {
            let address = EntryAddress(namespace: namespace, key: key, hash: UInt64(place))
            changes[address] = KeyedChange(address, .delete(version: 1))
        }
        return changes
    }

    private func sorted(_ keys: [(NamespaceID, [UInt8])]) -> [[UInt8]] {
        RowOrder.sorted(changes(keys)).map { [UInt8($0.address.namespace)] + $0.address.key }
    }

    @Test("namespaces come first, then bytes, and a key before those that it begins")
    func order() {
        let keys = ["user:9", "user:", "user:10", "user:1", "user:1000000000002", "user:1000000000001", "user:é"]
        let inOrder = ["user:", "user:1", "user:10", "user:1000000000001", "user:1000000000002", "user:9", "user:é"]
        let expected: [[UInt8]] = [1, 2].flatMap { namespace in inOrder.map { [UInt8(namespace)] + Array($0.utf8) } }
        let mixed: [(NamespaceID, [UInt8])] = [2, 1].flatMap { namespace in keys.map { (namespace, Array($0.utf8)) } }
        #expect(sorted(mixed) == expected)
        #expect(sorted([]).isEmpty)
    }

    @Test("it is the order of bytes, whatever the keys")
    func random() {
        var random = SeededGenerator()
        for _ in 0..<300 {
            let shared = random.bytes(Int.random(in: 0...12, using: &random))
            let keys = (0..<Int.random(in: 1...40, using: &random)).map { _ in
                let key =
                    shared
                    + (0..<Int.random(in: 0...12, using: &random)).map { _ in
                        UInt8.random(in: 0...2, using: &random)
                    }
                return (NamespaceID.random(in: 0...2, using: &random), key)
            }
            let found = sorted(keys)
            #expect(found == found.sorted { $0.lexicographicallyPrecedes($1) })
            #expect(found.count == keys.count)
        }
    }
}

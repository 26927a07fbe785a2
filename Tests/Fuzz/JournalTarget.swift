internal import PantlerCodec
internal import PantlerModel

@testable import PantlerDisk

/// The journal's record: whatever its bytes are, with a checksum that fits, it is read or refused; and what was read is written and read again the
/// same.
enum JournalTarget {
    static func run(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        var sum = Checksum()
        sum.add(bytes)
        let record = withUnsafeBytes(of: sum.value.littleEndian) { Array($0) } + Array(bytes)
        guard let changes = record.withUnsafeBytes({ JournalRecord.decode($0) }), !changes.isEmpty else { return 0 }
        let items = changes.map { namespace, key, change in
            let address = EntryAddress(namespace: namespace, key: key, hash: 1)
            return Batch.Item(ticket: 1, change: .entry(KeyedChange(address, change)))
        }
        var written: [UInt8] = []
        JournalRecord.encode(items, into: &written)
        guard let again = written.withUnsafeBytes({ JournalRecord.decode($0) }) else {
            must(false, "what was written cannot be read")
            return 0
        }
        must(again.count == changes.count, "\(again.count) of \(changes.count) changes")
        for (one, other) in zip(changes, again) {
            must(one.namespace == other.namespace && one.key == other.key, "another address")
            must(one.change.version == other.change.version && one.change.entry == other.change.entry, "another change")
        }
        return 0
    }
}

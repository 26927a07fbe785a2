import PantlerCodec
import PantlerModel
import Testing

@testable import PantlerDisk

@Suite("A row of the journal")
struct JournalRecordTests {
    private var changes: [KeyedChange] {
        let options = PutOptions(compressionThreshold: 300, compressionLevel: 9)
        var bytes = Entry(value: [0, 255], kind: .bytes(mediaType: "a/b; c=d"), version: 7, expiresAt: .never)
        bytes.tags = ["x", "a longer tag"]
        var json = Entry(value: Array("{}".utf8), kind: .json, version: 1 << 52, expiresAt: Timestamp(milliseconds: 5))
        json.staleTTL = 12
        let empty = Entry(value: [], kind: .json, version: 3, expiresAt: .never)
        let absent = Entry(value: [], kind: .absent, version: 4, expiresAt: Timestamp(milliseconds: 6), tags: ["x"])
        return [
            KeyedChange(address("a"), .put(bytes, options)), KeyedChange(address("b", 9), .put(json, options)),
            KeyedChange(address(String(repeating: "k", count: 1024)), .delete(version: 8)),
            KeyedChange(address("d"), .put(empty, PutOptions(compressionThreshold: 0, compressionLevel: 0))),
            KeyedChange(address("e"), .put(absent, options)),
        ]
    }

    private func address(_ key: String, _ namespace: NamespaceID = 1) -> EntryAddress {
        EntryAddress(namespace: namespace, key: Array(key.utf8), hash: 5)
    }

    private func record() -> [UInt8] {
        var record: [UInt8] = [9, 9]
        let controls = [Batch.Item(ticket: 5, change: .control(.versionCeiling(4)))]
        JournalRecord.encode(changes.map { Batch.Item(ticket: 1, change: .entry($0)) } + controls, into: &record)
        return record
    }

    @Test("it holds changes of entries, and gives them back")
    func roundTrip() throws {
        let found = try #require(record().withUnsafeBytes { JournalRecord.decode($0) })
        #expect(found.count == changes.count)
        for (found, written) in zip(found, changes) {
            #expect(found.namespace == written.address.namespace)
            #expect(found.key == written.address.key)
            #expect(found.change.version == written.version)
            #expect(found.change.entry == written.change.entry)
            if case .put(_, let options) = found.change, case .put(_, let expected) = written.change {
                #expect(options == expected)
            }
        }
    }

    /// Text is repaired where it is read by `String(decoding:)`, and a repaired tag may be longer than a tag can be.
    @Test("text that is not UTF-8 makes it one that was not written", arguments: ["a longer tag", "a/b; c=d"])
    func notUTF8(text: String) throws {
        var record = record()
        let place = try #require(record.firstRange(of: Array(text.utf8)))
        record[place.lowerBound] = 0xff
        var sum = Checksum()
        record[4...].withUnsafeBytes { sum.add($0) }
        withUnsafeBytes(of: sum.value.littleEndian) { record.replaceSubrange(..<4, with: $0) }
        #expect(record.withUnsafeBytes { JournalRecord.decode($0) } == nil)
    }

    @Test("there is none without changes of entries")
    func none() {
        var record: [UInt8] = [1]
        JournalRecord.encode([Batch.Item(ticket: 5, change: .control(.versionCeiling(4)))], into: &record)
        #expect(record.isEmpty)
    }

    @Test("any byte that differs, is missing or is too many is noticed")
    func damage() {
        let record = record()
        for index in record.indices {
            var damaged = record
            damaged[index] ^= 0x10
            #expect(damaged.withUnsafeBytes { JournalRecord.decode($0) } == nil, "byte \(index)")
            #expect(record[..<index].withUnsafeBytes { JournalRecord.decode($0) } == nil, "\(index) bytes")
        }
        #expect((record + [0]).withUnsafeBytes { JournalRecord.decode($0) } == nil)
    }
}

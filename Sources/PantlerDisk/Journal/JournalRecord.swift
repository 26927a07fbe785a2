import PantlerCodec
import PantlerModel

/// Changes of entries as the bytes of one row of the journal.
///
/// A CRC-32 over all that follows it; then, one after the other, for each change: flags, namespace, version, the key; and of a put, besides,
/// expiry, stale TTL, the options of compression, the media type unless it is JSON (see `ValueKind.mediaType`), the tags, and the value as it was sent. Numbers
/// are little-endian, and what has no fixed length stands behind its length. Of a touch there are, after the key, expiry, stale TTL, tags,
/// and the versions that it can be done to, 8 bytes each.
enum JournalRecord {
    private static let isPut: UInt8 = 1
    private static let hasMediaType: UInt8 = 2
    private static let isTouch: UInt8 = 4
    private static let checksumBytes = 4

    // MARK: Writing

    /// Replaces `bytes` by the record of the changes of entries among `items`. It is empty where there are none.
    static func encode(_ items: some Sequence<Batch.Item>, into bytes: inout [UInt8]) {
        bytes.removeAll(keepingCapacity: true)
        bytes.append(contentsOf: [0, 0, 0, 0])
        for item in items {
            if case .entry(let keyed) = item.change { append(keyed, to: &bytes) }
        }
        if bytes.count == checksumBytes { return bytes.removeAll(keepingCapacity: true) }
        let sum = checksum(bytes)
        for index in 0..<checksumBytes { bytes[index] = UInt8(truncatingIfNeeded: sum >> UInt32(index * 8)) }
    }

    private static func append(_ keyed: KeyedChange, to bytes: inout [UInt8]) {
        let address = keyed.address
        let entry: Entry
        let options: PutOptions
        switch keyed.change {
        case .put(let put, let with): (entry, options) = (put, with)
        case .delete: return append(0, address, keyed.version, to: &bytes)
        case .touch(let touch):
            append(isTouch, address, keyed.version, to: &bytes)
            append(touch.head.expiresAt.milliseconds, to: &bytes)
            append(touch.head.staleTTL, to: &bytes)
            append(run: TagList.encode(touch.head.tags), to: &bytes)
            append(UInt32(clamping: touch.bases.count), to: &bytes)
            for base in touch.bases { append(base, to: &bytes) }
            return
        }
        let mediaType = entry.kind.mediaType
        append(mediaType == nil ? isPut : isPut | hasMediaType, address, entry.version, to: &bytes)
        append(entry.expiresAt.milliseconds, to: &bytes)
        append(entry.staleTTL, to: &bytes)
        append(options.compressionThreshold, to: &bytes)
        append(UInt8(clamping: options.compressionLevel), to: &bytes)
        if let mediaType { append(run: Array(mediaType.utf8), to: &bytes) }
        append(run: TagList.encode(entry.tags), to: &bytes)
        append(run: entry.value, to: &bytes)
    }

    private static func append(
        _ flags: UInt8,
        _ address: EntryAddress,
        _ version: Version,
        to bytes: inout [UInt8]
    ) {
        bytes.append(flags)
        append(Int64(address.namespace), to: &bytes)
        append(version, to: &bytes)
        append(run: address.key, to: &bytes)
    }

    private static func append(_ number: some FixedWidthInteger, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) }
    }

    private static func append(run: [UInt8], to bytes: inout [UInt8]) {
        append(UInt32(clamping: run.count), to: &bytes)
        bytes.append(contentsOf: run)
    }

    private static func checksum(_ bytes: [UInt8]) -> UInt32 {
        bytes.withUnsafeBytes { checksum(UnsafeRawBufferPointer(rebasing: $0[checksumBytes...])) }
    }

    private static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        var sum = Checksum()
        sum.add(bytes)
        return sum.value
    }

    // MARK: Reading

    /// What a record holds; `nil` where it is not what was written.
    static func decode(
        _ bytes: UnsafeRawBufferPointer
    ) -> [(namespace: NamespaceID, key: [UInt8], change: EntryChange)]? {
        var scanner = RecordScanner(bytes)
        guard let sum = scanner.number(UInt32.self), sum == checksum(scanner.bytes) else { return nil }
        var changes: [(namespace: NamespaceID, key: [UInt8], change: EntryChange)] = []
        while !scanner.bytes.isEmpty {
            guard let flags = scanner.number(UInt8.self), let namespace = scanner.number(Int64.self),
                let version = scanner.number(Version.self), let key = scanner.run(),
                let change = change(flags, version, &scanner)
            else { return nil }
            changes.append((NamespaceID(clamping: namespace), key, change))
        }
        return changes
    }

    private static func change(_ flags: UInt8, _ version: Version, _ scanner: inout RecordScanner) -> EntryChange? {
        if flags & isPut != 0 { return put(flags, version, &scanner) }
        return flags & isTouch != 0 ? touch(version, &scanner) : .delete(version: version)
    }

    private static func touch(_ version: Version, _ scanner: inout RecordScanner) -> EntryChange? {
        guard let expiresAt = scanner.number(Int64.self), let staleTTL = scanner.number(Int64.self),
            let tags = scanner.run()?.withUnsafeBytes({ TagList.decode($0) }), let count = scanner.number(UInt32.self)
        else { return nil }
        var bases: [Version] = []
        for _ in 0..<count {
            guard let base = scanner.number(Version.self) else { return nil }
            bases.append(base)
        }
        let head = EntryHead(
            version: version,
            expiresAt: Timestamp(milliseconds: expiresAt),
            staleTTL: staleTTL,
            tags: tags
        )
        return .touch(Touch(bases: bases, head: head))
    }

    private static func put(_ flags: UInt8, _ version: Version, _ scanner: inout RecordScanner) -> EntryChange? {
        guard let expiresAt = scanner.number(Int64.self), let staleTTL = scanner.number(Int64.self),
            let threshold = scanner.number(Int64.self), let level = scanner.number(UInt8.self)
        else { return nil }
        var mediaType: String?
        if flags & hasMediaType != 0 {
            guard let type = scanner.run().flatMap({ String(validating: $0, as: UTF8.self) }) else { return nil }
            mediaType = type
        }
        guard let tags = scanner.run()?.withUnsafeBytes({ TagList.decode($0) }), let value = scanner.run() else {
            return nil
        }
        let entry = Entry(
            value: value,
            kind: ValueKind(mediaType: mediaType),
            version: version,
            expiresAt: Timestamp(milliseconds: expiresAt),
            staleTTL: staleTTL,
            tags: tags
        )
        return .put(entry, PutOptions(compressionThreshold: threshold, compressionLevel: Int(level)))
    }

    /// What is left of a record as it is read from the left.
    private struct RecordScanner {
        private(set) var bytes: UnsafeRawBufferPointer

        init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

        mutating func number<Number: FixedWidthInteger & BitwiseCopyable>(_ type: Number.Type) -> Number? {
            guard let taken = take(MemoryLayout<Number>.size) else { return nil }
            return Number(littleEndian: taken.loadUnaligned(as: Number.self))
        }

        mutating func run() -> [UInt8]? {
            number(UInt32.self).flatMap { take(Int($0)) }.map { Array($0) }
        }

        private mutating func take(_ count: Int) -> UnsafeRawBufferPointer? {
            guard count <= bytes.count else { return nil }
            defer { bytes = UnsafeRawBufferPointer(rebasing: bytes[count...]) }
            return UnsafeRawBufferPointer(rebasing: bytes[..<count])
        }
    }
}

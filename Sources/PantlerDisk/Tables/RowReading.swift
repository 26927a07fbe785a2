import PantlerCodec
import PantlerModel

extension Statement {
    /// Steps a statement that has a namespace and a key for its parameters. Returns whether there is a row.
    func find(namespace: NamespaceID, key: [UInt8]) throws(SQLiteError) -> Bool {
        try key.withBytes { (bytes) throws(SQLiteError) in
            try bind(1, Int64(namespace))
            try bind(2, borrowing: bytes)
            return try step()
        }
    }
}

/// Reads entries from rows of `columns`.
enum RowReading {
    static let columns = columns(value: "value")

    /// - Parameter value: what stands for the value.
    static func columns(value: String) -> String {
        "id, version, expires_at, stale_ttl, size, form, checksum, media_type, tags, \(value), namespace, key"
    }

    static let columnCount: Int32 = 12

    /// The query for the head of a key's entry.
    static let headQuery =
        "SELECT version, expires_at, stale_ttl, tags, \(isAbsent) FROM entries WHERE namespace = ?1 AND key = ?2"

    /// Whether a row is a negative entry, as SQL: see `ValueKind.mediaType`.
    static let isAbsent = "media_type IS ''"

    /// The head in a row of `headQuery`. The checksum is not verified, since it is over the value too.
    static func head(_ row: borrowing Statement) -> EntryHead {
        EntryHead(
            version: Version(clamping: row.integer(0)),
            expiresAt: row.optionalInteger(1).map { Timestamp(milliseconds: $0) } ?? .never,
            staleTTL: row.integer(2),
            tags: TagList.decode(row.bytes(3)) ?? [],
            isAbsent: row.integer(4) == 1
        )
    }

    /// The entry in a row of `columns`.
    ///
    /// - Throws: `damaged` if anything of the row is not what was written.
    static func entry(_ row: borrowing Statement, _ inflater: inout Inflater) throws(ReadFailure) -> Entry {
        let checksum = row.integer(6)
        do throws(TierFault) {
            let stored = row.bytes(9)
            guard let form = StoredForm(rawValue: row.integer(5)) else {
                throw TierFault(.corrupt, "the form of row \(row.integer(0)) is unknown")
            }
            let content = RowContent(
                namespace: NamespaceID(truncatingIfNeeded: row.integer(10)),
                version: row.integer(1),
                expiresAt: row.optionalInteger(2) ?? .max,
                staleTTL: row.integer(3),
                size: row.integer(4),
                form: form,
                mediaType: row.optionalText(7),
                tags: Array(row.bytes(8))
            )
            guard RowContent.isSame(checksum, content.checksum(key: row.bytes(11), stored: stored)) else {
                throw TierFault(.corrupt, "the checksum of row \(row.integer(0)) does not hold")
            }
            return try content.entry(value: try value(stored, content, &inflater))
        } catch {
            throw .damaged(row: row.integer(0), checksum: checksum, error)
        }
    }

    private static func value(
        _ stored: UnsafeRawBufferPointer,
        _ content: RowContent,
        _ inflater: inout Inflater
    ) throws(TierFault) -> [UInt8] {
        switch content.form {
        case .plain: return Array(stored)
        case .deflated:
            do {
                return try inflater.inflate(stored, size: Int(clamping: content.size))
            } catch {
                throw TierFault(.corrupt, error.description)
            }
        }
    }
}

import PantlerModel

/// Tokens as rows of `tokens`.
enum TokenRows {
    static let columns = """
        id, role, namespaces, note, created_at, expires_at, digest, former_digest, former_until, last_used_day
        """

    static let count: Int32 = 10

    /// - Parameter insertion: that of `CheckedTable.tokens`.
    static func write(_ record: TokenRecord, _ insertion: borrowing Statement) throws(SQLiteError) {
        try insertion.bind(1, record.id.description)
        try insertion.bind(2, record.grant.role.rawValue)
        try insertion.bind(3, record.grant.namespaces.map(\.description).joined(separator: ","))
        try insertion.bind(4, record.note)
        try insertion.bind(5, record.createdAt ?? 0)
        try insertion.bind(6, record.expiresAt)
        try insertion.bind(9, record.former?.until)
        try insertion.bind(10, record.lastUsedDay.map { Int64($0) })
        try record.digest.bytes.withBytes { (digest) throws(SQLiteError) in
            try insertion.bind(7, borrowing: digest)
            guard let former = record.former else {
                try insertion.bindNull(8)
                return try insertion.run()
            }
            try former.digest.bytes.withBytes { (digest) throws(SQLiteError) in
                try insertion.bind(8, borrowing: digest)
                try insertion.run()
            }
        }
    }

    /// The token in a row of `columns` that is undamaged; `nil` where it makes no sense, as one of a later Pantler may not: it gives nothing
    /// then, and is left in the file.
    static func record(_ row: borrowing Statement) -> TokenRecord? {
        guard let id = TokenID(row.bytes(0)), let role = Role(rawValue: row.text(1)),
            let digest = TokenDigest(row.bytes(6))
        else { return nil }
        var namespaces: [NamespacePattern] = []
        for text in row.text(2).split(separator: ",") {
            guard let pattern = NamespacePattern(text.utf8) else { return nil }
            namespaces.append(pattern)
        }
        var record = TokenRecord(
            id: id,
            grant: Grant(role: role, namespaces: namespaces),
            note: row.text(3),
            createdAt: row.integer(4),
            expiresAt: row.optionalInteger(5),
            digest: digest
        )
        if let until = row.optionalInteger(8), let former = TokenDigest(row.bytes(7)) {
            record.former = TokenRecord.Former(digest: former, until: until)
        }
        record.lastUsedDay = row.optionalInteger(9).map { Int32(clamping: $0) }
        return record
    }
}

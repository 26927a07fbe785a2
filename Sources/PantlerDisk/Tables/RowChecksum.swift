import CSQLite
import PantlerCodec

/// The SQL function `row_checksum(table, column, …)`, which every connection has: a CRC-32 over the table's name and the values of a row, each
/// with its type and, where it has no fixed length, its length.
///
/// The small tables are what a start goes by without a look at anything else: one number of them that is not what was written can give
/// versions a second time, or bring back what was invalidated. So each of their rows carries its checksum.
enum RowChecksum {
    static func define(on database: OpaquePointer) -> Int32 {
        sqlite3_create_function_v2(
            database,
            "row_checksum",
            -1,
            SQLITE_UTF8 | SQLITE_DETERMINISTIC,
            nil,
            { context, count, values in
                guard let values else { return }
                var sum = Checksum()
                for index in 0..<Int(count) { RowChecksum.add(values[index], to: &sum) }
                sqlite3_result_int64(context, Int64(sum.value))
            },
            nil,
            nil,
            nil
        )
    }

    private static func add(_ value: OpaquePointer?, to sum: inout Checksum) {
        let type = sqlite3_value_type(value)
        sum.add(Int64(type))
        switch type {
        case SQLITE_INTEGER: sum.add(sqlite3_value_int64(value))
        case SQLITE_FLOAT: sum.add(Int64(bitPattern: sqlite3_value_double(value).bitPattern))
        case SQLITE_TEXT, SQLITE_BLOB:
            // In this order: the first call converts where there is something to be converted.
            let start = sqlite3_value_blob(value)
            let count = Int(sqlite3_value_bytes(value))
            sum.add(Int64(count))
            sum.add(UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : count))
        default: break
        }
    }
}

/// The tables whose rows carry a checksum, with the columns that it is over.
enum CheckedTable: String, CaseIterable {
    case namespaces, tags, usage, dropped, voids, state, tokens

    var columns: String {
        switch self {
        case .namespaces: StateTables.namespaceColumns
        case .tags: "namespace, tag, gone_before, stale_before, stale_since, stale_marks"
        case .usage: "namespace, entries, bytes"
        case .dropped: "namespace"
        case .voids: "namespace, through"
        case .state: "name, value"
        case .tokens: TokenRows.columns
        }
    }

    /// The first schema that has the table with checksums.
    var since: Int { self == .tokens ? Schema.tokenVersion : Schema.checksumVersion }

    /// The checksum of a row, as SQL.
    var checksum: String { checksum(columns) }

    /// - Parameter values: in the order of the columns.
    func checksum(_ values: String) -> String { "row_checksum('\(rawValue)', \(values))" }

    /// Whether a row is what was written, as SQL.
    var isSound: String { "checksum IS \(checksum)" }

    /// The same in a file of a schema that has checksums, and may be older than the present one.
    func isSound(in schema: Int) -> String {
        guard self == .namespaces, schema < Schema.negativeVersion else { return isSound }
        return "checksum IS \(checksum(StateTables.formerNamespaceColumns))"
    }

    /// The statement that writes a row, with a parameter for each column.
    var insertion: String {
        let count = columns.split(separator: ",").count
        let values = (1...count).map { "?\($0)" }.joined(separator: ", ")
        return "INSERT OR REPLACE INTO \(rawValue) (\(columns), checksum) VALUES (\(values), \(checksum(values)))"
    }
}

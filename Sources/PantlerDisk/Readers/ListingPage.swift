import PantlerModel

/// One page of a listing: the rows of a reader merged with the changes that wait in the queue.
///
/// The queue is looked at first. A change that is committed between that and the reading of rows is then seen twice, and its larger version
/// counts; the other way round it could be missed.
struct ListingPage: Sendable {
    let namespace: NamespaceID
    let prefix: [UInt8]
    let after: [UInt8]?
    let limit: Int

    func entries(_ reader: Reader, _ queue: WriteQueue) throws(SQLiteError) -> [ListedEntry] {
        guard limit > 0 else { return [] }
        let (waiting, void) = queue.changes(in: namespace, prefix: prefix)
        var keys = waiting.keys.filter { isWanted($0) }.sorted { $0.lexicographicallyPrecedes($1) }[...]
        var found: [ListedEntry] = []
        func takeWaiting() {
            guard let key = keys.popFirst(), let entry = waiting[key]?.entry else { return }
            found.append(ListedEntry(key: key, entry))
        }
        var start = prefix
        if let after, start.lexicographicallyPrecedes(after) { start = after }
        try reader.list(namespace: namespace, from: start) { row in
            guard row.key.starts(with: prefix) else { return false }
            guard isWanted(row.key), row.version > void else { return true }
            while found.count < limit, let key = keys.first, key.lexicographicallyPrecedes(row.key) { takeWaiting() }
            guard found.count < limit else { return false }
            if keys.first == row.key, case .touch(let touch) = waiting[row.key] {
                keys.removeFirst()
                if let touched = touch.applied(to: row) { found.append(touched) }
            } else if keys.first == row.key, let change = waiting[row.key], change.version >= row.version {
                takeWaiting()
            } else {
                if keys.first == row.key { keys.removeFirst() }
                found.append(row)
            }
            return found.count < limit
        }
        while found.count < limit, !keys.isEmpty { takeWaiting() }
        return found
    }

    private func isWanted(_ key: [UInt8]) -> Bool {
        guard let after else { return true }
        return after.lexicographicallyPrecedes(key)
    }
}

extension ListedEntry {
    fileprivate init(key: [UInt8], _ entry: Entry) {
        self.init(
            key: key,
            version: entry.version,
            expiresAt: entry.expiresAt,
            staleTTL: entry.staleTTL,
            tags: entry.tags,
            size: Int64(entry.value.count),
            isAbsent: entry.isAbsent
        )
    }
}

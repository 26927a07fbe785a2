import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore

extension Router {
    func list(_ call: Call, _ exchange: Exchange) throws(Problem) {
        let limit = try call.query.limit()
        let prefix = try call.query.prefix()
        guard let namespace = store.namespace(call.namespace) else { throw .namespaceNotFound(call.namespace) }
        let after = try call.query[.cursor].map { text throws(Problem) in
            try Cursor(text, namespace: namespace.id, prefix: prefix).after
        }
        store.list(namespace, prefix: prefix, after: after, limit: limit) { result in
            exchange.respondFromAnywhere {
                switch result {
                case .success(let listing): Response(listing, namespace.id, prefix)
                case .failure(let problem): Response(problem: problem, operation: .list)
                }
            }
        }
    }
}

extension Response {
    /// `{"entries":[…],"cursor":…}`
    fileprivate init(_ listing: Listing, _ namespace: NamespaceID, _ prefix: [UInt8]) {
        var body = JSONWriter(capacity: 64 + listing.rows.count * 128)
        body.beginObject()
        body.member("entries")
        body.beginArray()
        for row in listing.rows {
            body.beginObject()
            body.member("key")
            body.string(row.entry.key)
            body.member("version")
            body.integer(row.entry.version)
            body.member("expires_at")
            body.moment(row.expiresAt)
            body.member("size")
            body.integer(row.entry.size)
            body.member("tier")
            body.string(row.tier.rawValue)
            body.endObject()
        }
        body.endArray()
        body.member("cursor")
        if !listing.isComplete, let last = listing.rows.last {
            body.string(Cursor(namespace: namespace, prefix: prefix, after: last.entry.key).text)
        } else {
            body.null()
        }
        body.endObject()
        self.init(200, body, headers: Self.notStored, operation: .list)
    }
}

internal import NIOCore
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
            switch result {
            case .success(let listing): ListingPage(listing, namespace.id, prefix).answer(exchange)
            case .failure(let problem): exchange.respond(Response(problem: problem, operation: .list))
            }
        }
    }
}

/// `{"entries":[…],"cursor":…}`, of which a long one is written piece by piece as the client takes it.
private struct ListingPage: Sendable {
    private let listing: Listing
    private let namespace: NamespaceID
    private let prefix: [UInt8]
    private var body: JSONWriter
    /// Rows that are written.
    private var written = 0
    /// Whether what comes after the last row is written too.
    private var isWhole = false

    /// Bytes of a piece, and of the longest page that is written as a whole.
    private static let pieceBytes = 256 << 10

    init(_ listing: Listing, _ namespace: NamespaceID, _ prefix: [UInt8]) {
        self.listing = listing
        self.namespace = namespace
        self.prefix = prefix
        body = JSONWriter(capacity: min(64 + listing.rows.count * 128, Self.pieceBytes))
        body.beginObject()
        body.member("entries")
        body.beginArray()
    }

    /// Answers, from any thread. What follows the first piece is made on the exchange's loop.
    func answer(_ exchange: Exchange) {
        var page = self
        page.write(upTo: exchange.takesPieces ? Self.pieceBytes : .max)
        if page.isWhole {
            return exchange.respond(Response(200, page.body, headers: Response.notStored, operation: .list))
        }
        page.send(
            exchange.begin(
                Response(
                    status: 200,
                    contentType: MediaType.json,
                    headers: Response.notStored,
                    operation: .list
                )
            )
        )
    }

    private mutating func send(_ stream: AnswerStream) {
        let piece = WireAnswer(ByteBuffer(bytes: body.takeBytes()))
        if isWhole { return stream.end(piece) }
        stream.write(piece) { [self] in
            var page = self
            page.write(upTo: Self.pieceBytes)
            page.send(stream)
        }
    }

    /// Writes rows, and what comes after the last, until there are so many bytes.
    private mutating func write(upTo limit: Int) {
        while written < listing.rows.count {
            if body.bytes.count >= limit { return }
            write(listing.rows[written])
            written += 1
        }
        writeEnd()
        isWhole = true
    }

    private mutating func write(_ row: ListedRow) {
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
        if row.entry.isAbsent {
            body.member("absent")
            body.bool(true)
        }
        body.endObject()
    }

    private mutating func writeEnd() {
        body.endArray()
        body.member("cursor")
        if !listing.isComplete, let last = listing.rows.last {
            body.string(Cursor(namespace: namespace, prefix: prefix, after: last.entry.key).text)
        } else {
            body.null()
        }
        body.endObject()
    }
}

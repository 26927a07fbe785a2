internal import NIOCore
internal import NIOHTTP1
import PantlerJSON
import PantlerModel
import PantlerStore

// PUT of a value as plain bytes; GET and DELETE are those of the entry.

extension Router {
    func putValue(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let kind = try Self.kind(request.headers)
        var put = Put(value: [], kind: kind, condition: call.condition, lease: call.lease)
        put.lifetime = try Self.lifetime(call.query, now: store.moment().wall)
        put.staleTTL = try call.query[.staleTTL].map { text throws(Problem) in
            try text.withBytes { bytes throws(Problem) in try Seconds.staleTTL(bytes) }
        }
        put.tags = try Tags.read(request.headers["cache-tag"])
        put.value = Array(request.body.readableBytesView)
        if kind == .json {
            do {
                try JSON.validate(put.value, maxDepth: Limits.jsonDepth)
            } catch {
                throw Problem(json: error)
            }
        }
        try self.put(put, call, exchange)
    }

    /// The kind of a value, by its media type. Only `application/json` is JSON; a type that ends in `+json` is kept as bytes like any
    /// other.
    private static func kind(_ headers: HTTPHeaders) throws(Problem) -> ValueKind {
        let types = headers["content-type"]
        guard let type = types.first else { return .bytes(mediaType: MediaType.bytes) }
        guard types.count == 1, MediaType.isValid(type) else {
            let shown = Problem.quoted(types.joined(separator: ", "))
            throw Problem(.headerInvalid, "Content-Type is \(shown); it takes one media type of at most 255 bytes.")
        }
        return MediaType.essence(type) == MediaType.json ? .json : .bytes(mediaType: type)
    }

    private static func lifetime(_ query: Query, now: WallTime) throws(Problem) -> Lifetime {
        switch (query[.ttl], query[.expiresAt]) {
        case (nil, nil): return .byPolicy
        case (.some, .some): throw .ttlConflict
        case (let ttl?, nil):
            return .milliseconds(try ttl.withBytes { bytes throws(Problem) in try Seconds.ttl(bytes) })
        case (nil, let moment?): return .until(try Expiry.read(moment, now: now))
        }
    }
}

internal import NIOCore
import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore
internal import Synchronization

extension Router {
    func getBatch(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let keys = try request.body.withBytes { body throws(Problem) in try KeyBatch.read(body) }
        guard let namespace = store.namespace(call.namespace) else {
            let none = FoundBatch(keys, pending: 0)
            return exchange.respond(none.response())
        }
        let addresses = keys.map { store.address(namespace, $0) }
        let moment = store.moment()
        var found = FoundBatch(keys, pending: 0)
        var below: [Int] = []
        for (index, address) in addresses.enumerated() {
            let lookup = address.key.withUnsafeBytes { key in
                store.lookup(namespace, address.hash, key, moment, counts: true) { found.add($0, at: index) }
            }
            if case .below = lookup { below.append(index) }
        }
        if below.isEmpty { return exchange.respond(found.response()) }

        // Each load reports on whatever thread it ends; the last one answers.
        found.pending = below.count
        let batch = Shared(found)
        for index in below {
            store.load(namespace, addresses[index], counts: true) { loaded in
                let isLast = batch.state.withLock { found in
                    if case .hit(let hit) = loaded { hit.withFound(addresses[index]) { found.add($0, at: index) } }
                    found.pending -= 1
                    return found.pending == 0
                }
                if isLast { exchange.respondFromAnywhere { batch.state.withLock { $0.response() } } }
            }
        }
    }

    private final class Shared: Sendable {
        let state: Mutex<FoundBatch>

        init(_ batch: FoundBatch) { state = Mutex(batch) }
    }
}

/// What a batch of gets has found so far, in whatever order, and its answer, in the order of the keys.
struct FoundBatch: Sendable {
    private let keys: [[UInt8]]
    /// Entries as JSON, one after the other.
    private var objects = ByteBuffer()
    /// Where in `objects` the entry of each key stands; `nil` = it is missing, as far as is known.
    private var places: [Range<Int>?]
    /// Keys that have not been reported on.
    var pending: Int

    init(_ keys: [[UInt8]], pending: Int) {
        self.keys = keys
        self.pending = pending
        places = Array(repeating: nil, count: keys.count)
    }

    mutating func add(_ found: Found, at index: Int) {
        let start = objects.writerIndex
        EntryAnswer.appendEntryObject(found, to: &objects)
        places[index] = start..<objects.writerIndex
    }

    /// `{"entries":[…],"missing":[…]}`
    func response() -> Response {
        var body = ByteBuffer()
        body.reserveCapacity(objects.readableBytes + 1024)
        body.writeStaticString("{\"entries\":[")
        var needsComma = false
        for case let place? in places {
            if needsComma { body.writeStaticString(",") }
            needsComma = true
            body.writeBytes(objects.readableBytesView[place])
        }
        var missing = JSONWriter()
        missing.beginArray()
        for (key, place) in zip(keys, places) where place == nil { missing.string(key) }
        missing.endArray()
        body.writeStaticString("],\"missing\":")
        body.writeBytes(missing.bytes)
        body.writeStaticString("}")
        return Response(status: 200, contentType: MediaType.json, body: body, operation: .batchGet)
    }
}

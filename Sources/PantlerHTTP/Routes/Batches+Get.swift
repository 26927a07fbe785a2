import PantlerInsight
import PantlerModel
import PantlerStore

extension Router {
    func getBatch(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let keys = try request.body.withBytes { body throws(Problem) in try KeyBatch(body) }
        guard flight.isShort else {
            return getBatch(call.namespace, keys, nil, room: 0, isLong(call, request), exchange)
        }
        // It begins with some room, or not at all: nothing is counted of what is refused.
        let room = min(Self.batchRoom, exchange.answerSize)
        exchange.withRoom(room) { [self] claim in
            guard let claim else { return exchange.respond(Response(problem: .noRoom, operation: .batchGet)) }
            // Who waited was told on the loop, and a long batch is none for that.
            let isLong = isLong(call, request)
            perform(isLong) { [self] in getBatch(call.namespace, keys, claim, room: room, isLong, exchange) }
        }
    }

    /// Room that a batch waits for while it is short.
    private static let batchRoom = 1 << 20

    /// - Parameter isLong: whether this is on another thread than the loop, and may take its time.
    private func getBatch(
        _ name: String,
        _ keys: KeyBatch,
        _ claim: FlightClaim?,
        room: Int,
        _ isLong: Bool,
        _ exchange: Exchange
    ) {
        var found = FoundBatch(keys, limit: exchange.answerSize, flight, claim, room: room)
        guard let namespace = store.namespace(name) else {
            store.countUnmet(name, gets: keys.count)
            found.missAll()
            return exchange.respond(.batch, with: found.response())
        }
        lookUp(found, keys, from: 0, namespace, isLong, exchange)
    }

    /// Keys that are looked up on a loop before it is seen how much they have brought, and what may be copied there.
    private static let keysAtOnce = 64
    private static let copiedBytes = 256 << 10

    /// Looks up what is left of the keys. What was small by its keys may be long by its entries: then the rest is looked up elsewhere.
    private func lookUp(
        _ begun: consuming FoundBatch,
        _ keys: KeyBatch,
        from start: Int,
        _ namespace: Namespace,
        _ isLong: Bool,
        _ exchange: Exchange
    ) {
        var found = begun
        var next = start
        while next < keys.count {
            let end = isLong ? keys.count : min(next + Self.keysAtOnce, keys.count)
            found.lookUp(in: store, namespace, next..<end)
            next = end
            if !isLong, next < keys.count, found.textBytes > Self.copiedBytes {
                noteLongCall()
                let (found, next) = (found, next)
                return perform(true) { [self] in lookUp(found, keys, from: next, namespace, true, exchange) }
            }
        }
        if found.isWhole { return exchange.respond(.batch, with: found.response()) }
        BatchLoads(found, keys, store, namespace, flight) { exchange.respond(.batch, with: $0) }.go()
    }
}

extension Response {
    /// The head of an answer to a batch of gets.
    fileprivate static let batch = Response(status: 200, contentType: MediaType.json, operation: .batchGet)
}

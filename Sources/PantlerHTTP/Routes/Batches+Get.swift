import PantlerInsight
import PantlerModel
import PantlerStore

extension Router {
    func getBatch(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let keys = try request.body.withBytes { body throws(Problem) in try KeyBatch(body) }
        guard flight.isShort else { return getBatch(call.namespace, keys, nil, room: 0, exchange) }
        // It begins with some room, or not at all: nothing is counted of what is refused.
        let room = min(Self.batchRoom, exchange.answerSize)
        exchange.withRoom(room) { [self] claim in
            guard let claim else { return exchange.respond(Response(problem: .noRoom, operation: .batchGet)) }
            // Who waited was told on the loop, and a long batch is none for that.
            let isLong = isLong(call, request)
            perform(isLong) { [self] in getBatch(call.namespace, keys, claim, room: room, exchange) }
        }
    }

    /// Room that a batch waits for while it is short.
    private static let batchRoom = 1 << 20

    private func getBatch(_ name: String, _ keys: KeyBatch, _ claim: FlightClaim?, room: Int, _ exchange: Exchange) {
        var found = FoundBatch(keys, limit: exchange.answerSize, flight, claim, room: room)
        guard let namespace = store.namespace(name) else {
            store.countUnmet(name, gets: keys.count)
            found.missAll()
            return exchange.respond(.batch, with: found.response())
        }
        if found.lookUp(in: store, namespace) {
            return exchange.respond(.batch, with: found.response())
        }
        BatchLoads(found, keys, store, namespace, flight) { exchange.respond(.batch, with: $0) }.go()
    }
}

extension Response {
    /// The head of an answer to a batch of gets.
    fileprivate static let batch = Response(status: 200, contentType: MediaType.json, operation: .batchGet)
}

internal import NIOHTTP1
import PantlerInsight
import PantlerModel
import PantlerStore

extension Router {
    func getBatch(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let keys = try request.body.withBytes { body throws(Problem) in try KeyBatch(body) }
        let isMinimal = Self.prefersMinimal(request.headers)
        guard flight.isShort else {
            return getBatch(call.namespace, keys, isMinimal, nil, room: 0, isLong(call, request), exchange)
        }
        // The batch begins with some room, or not at all: nothing is counted of a batch that is refused.
        let room = min(Self.batchRoom, exchange.answerSize)
        exchange.withRoom(room) { [self] claim in
            guard let claim else { return exchange.respond(Response(problem: .noRoom, operation: .batchGet)) }
            // After the wait this runs on the loop, which is not for a long batch.
            let isLong = isLong(call, request)
            perform(isLong) { [self] in getBatch(call.namespace, keys, isMinimal, claim, room: room, isLong, exchange) }
        }
    }

    /// Whether the request says `Prefer: return=minimal` (RFC 7240): values alone are wanted, by their keys.
    private static func prefersMinimal(_ headers: HTTPHeaders) -> Bool {
        headers["prefer"].contains { field in
            field.split { $0 == "," || $0 == ";" }.contains {
                trimmed($0).asciiLowercased.replacing("\"", with: "") == "return=minimal"
            }
        }
    }

    /// Bytes of room that a batch waits for while room is short.
    private static let batchRoom = 1 << 20

    /// - Parameter isLong: whether this is on another thread than the loop, and may take its time.
    private func getBatch(
        _ name: String,
        _ keys: KeyBatch,
        _ isMinimal: Bool,
        _ claim: FlightClaim?,
        room: Int,
        _ isLong: Bool,
        _ exchange: Exchange
    ) {
        var found = FoundBatch(keys, isMinimal: isMinimal, limit: exchange.answerSize, flight, claim, room: room)
        guard let namespace = store.namespace(name) else {
            store.countUnmet(name, gets: keys.count)
            found.missAll()
            return exchange.respond(.batch(isMinimal), with: found.response())
        }
        let batch = BatchGet(
            keys: keys,
            head: .batch(isMinimal),
            router: self,
            namespace: namespace,
            exchange: exchange
        )
        batch.lookUp(found, from: 0, atOnce: isLong ? BatchGet.manyKeysAtOnce : BatchGet.keysAtOnce, nil)
    }
}

/// A batch of gets on its way: a long answer is looked up and written piece by piece, as the client takes it.
private struct BatchGet: Sendable {
    let keys: KeyBatch
    let head: Response
    let router: Router
    let namespace: Namespace
    let exchange: Exchange

    /// Keys that are looked up before the size of what they have brought is looked at. The lower tier is asked for at least so many at a
    /// time, where there are so many to ask for.
    static let keysAtOnce = 64
    /// `keysAtOnce` off the loop. There are fewer passes through the shards then, each of which costs the same for few keys as for many.
    static let manyKeysAtOnce = 256
    /// Bytes of a piece, and of the longest answer to many keys that is written as a whole; either may have some more. Copying so many
    /// bytes does not hold a loop for long.
    private static let pieceBytes = 256 << 10

    /// Looks up keys until there is enough for a piece.
    func lookUp(
        _ begun: consuming FoundBatch,
        from start: Int,
        atOnce: Int = keysAtOnce,
        _ stream: AnswerStream?
    ) {
        var found = begun
        var next = start
        while next < keys.count, found.belowCount < Self.keysAtOnce, next == start || found.bytes <= Self.pieceBytes {
            let end = min(next + atOnce, keys.count)
            found.lookUp(in: router.store, namespace, next..<end)
            next = end
        }
        if found.belowCount == 0 { return goOn(found, from: next, stream) }
        BatchLoads(found, keys, router.store, namespace, router.flight) { [next] loaded in
            goOn(loaded, from: next, stream)
        }.go()
    }

    /// Writes what is there, if it is enough, and looks up what is left. To be called from any thread.
    private func goOn(_ begun: consuming FoundBatch, from next: Int, _ stream: AnswerStream?) {
        var found = begun
        if next == keys.count {
            let rest = found.response()
            if let stream { stream.end(rest) } else { exchange.respond(head, with: rest) }
        } else if found.bytes <= Self.pieceBytes {
            exchange.onLoop { [found] in lookUp(found, from: next, stream) }
        } else if exchange.takesPieces {
            let stream = stream ?? exchange.begin(head)
            let piece = found.takePiece()
            stream.write(piece) { [found] in lookUp(found, from: next, stream) }
        } else {
            // Nothing can be written before all of the answer is there, and gathering all of it may take long.
            router.noteLongCall()
            router.perform(true) { [found] in lookUp(found, from: next, nil) }
        }
    }
}

extension Response {
    /// The head of an answer to a batch of gets.
    fileprivate static func batch(_ isMinimal: Bool) -> Response {
        Response(
            status: 200,
            contentType: MediaType.json,
            headers: isMinimal ? [("Preference-Applied", "return=minimal")] : [],
            operation: .batchGet
        )
    }
}

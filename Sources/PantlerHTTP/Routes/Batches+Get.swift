internal import NIOHTTP1
import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore

// Batches of gets, and of requests for leases.

extension Router {
    func getBatch(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let keys = try request.body.withBytes { body throws(Problem) in try KeyBatch(body) }
        let mode = Self.mode(request.headers)
        begin(BatchAsk(keys: keys, mode: mode), call, request, exchange) { [store] in
            guard let namespace = store.namespace(call.namespace) else {
                store.countUnmet(call.namespace, gets: keys.count)
                return nil
            }
            return namespace
        }
    }

    func leaseBatch(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let ask = try request.body.withBytes { body throws(Problem) in try BatchAsk(leasesIn: body) }
        let namespace = try namespaceForWriting(call) { _ in }
        begin(ask, call, request, exchange) { namespace }
    }

    /// By `Prefer: return=minimal` values alone are wanted, by their keys; with `bytes=raw` those of bytes as they are.
    private static func mode(_ headers: HTTPHeaders) -> BatchMode {
        let prefer = Prefer(headers)
        guard prefer["return"] == "minimal" else { return .entries }
        return prefer["bytes"] == "raw" ? .rawValues : .values
    }

    /// Bytes of room that a batch waits for while room is short.
    private static let batchRoom = 1 << 20

    /// - Parameter find: finds the namespace; `nil` = there is none, and all keys are missing.
    private func begin(
        _ ask: BatchAsk,
        _ call: Call,
        _ request: Request,
        _ exchange: Exchange,
        _ find: @escaping @Sendable () -> Namespace?
    ) {
        guard flight.isShort else {
            return lookUp(ask, find, nil, room: 0, isLong(call, request), exchange)
        }
        // The batch begins with some room, or not at all: nothing is counted of a batch that is refused.
        let room = min(Self.batchRoom, exchange.answerSize)
        exchange.withRoom(room) { [self] claim in
            guard let claim else { return exchange.respond(Response(problem: .noRoom, operation: call.operation)) }
            // After the wait this runs on the loop, which is not for a long batch.
            let isLong = isLong(call, request)
            perform(isLong) { [self] in lookUp(ask, find, claim, room: room, isLong, exchange) }
        }
    }

    /// - Parameter isLong: whether this is on another thread than the loop, and may take its time.
    private func lookUp(
        _ ask: BatchAsk,
        _ find: () -> Namespace?,
        _ claim: FlightClaim?,
        room: Int,
        _ isLong: Bool,
        _ exchange: Exchange
    ) {
        var found = FoundBatch(ask.keys, ask.mode, limit: exchange.answerSize, flight, claim, room: room)
        guard let namespace = find() else {
            found.missAll()
            return exchange.respond(.batch(found), with: found.response())
        }
        let batch = BatchGet(
            ask: ask,
            deadline: store.moment().now.advanced(byMilliseconds: ask.lease.wait),
            router: self,
            namespace: namespace,
            exchange: exchange
        )
        batch.lookUp(found, from: 0, atOnce: isLong ? BatchGet.manyKeysAtOnce : BatchGet.keysAtOnce, nil)
    }
}

/// What a batch of keys asks for.
private struct BatchAsk: Sendable {
    let keys: KeyBatch
    let mode: BatchMode
    var lease = LeaseAsk()

    private enum Member: String, CaseIterable, Sendable {
        case keys, ttl, wait
    }

    init(keys: KeyBatch, mode: BatchMode) {
        self.keys = keys
        self.mode = mode
    }

    /// - Parameter body: that of `batch/lease`.
    /// - Throws: what is wrong with it.
    init(leasesIn body: UnsafeRawBufferPointer) throws(Problem) {
        let members = try Members<Member>(body, allowed: Member.allCases)
        try members.checkUnknown()
        guard let element = members[.keys] else {
            throw Problem(.missingMember, "'keys' is needed: an array of keys.")
        }
        keys = try KeyBatch(element)
        mode = .leases
        lease = try LeaseAsk(ttl: members[.ttl], wait: members[.wait])
    }
}

/// A batch on its way: a long answer is looked up and written piece by piece, as the client takes it.
private struct BatchGet: Sendable {
    let ask: BatchAsk
    /// Until when the batch waits for keys that others fill.
    let deadline: Timestamp
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

    private var keys: KeyBatch { ask.keys }

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
        BatchLoads(found, keys, router.store, namespace, router.flight, read: read()) { [next] loaded in
            goOn(loaded, from: next, stream)
        }.go()
    }

    private func read() -> BatchRead {
        let (store, namespace) = (router.store, namespace)
        guard ask.mode == .leases else {
            return { address, admits, wants, completion in
                store.load(namespace, address, counts: true, admits: admits, wants: wants) { completion(.entry($0)) }
            }
        }
        // A key that is refused may be waited for later, and is counted then.
        let ask = LeaseAsk(ttl: ask.lease.ttl, countsRefusal: false)
        return { address, admits, wants, completion in
            store.lease(namespace, address, ask, admits: admits, wants: wants) { answer in
                completion(BatchResult(answer))
            }
        }
    }

    /// Writes what is there, if it is enough, and looks up what is left. To be called from any thread.
    private func goOn(_ begun: consuming FoundBatch, from next: Int, _ stream: AnswerStream?) {
        var found = begun
        if next == keys.count {
            end(found, stream)
        } else if found.bytes <= Self.pieceBytes {
            exchange.onLoop { [found] in lookUp(found, from: next, stream) }
        } else if exchange.takesPieces, ask.mode.mayComeInPieces {
            let stream = stream ?? exchange.begin(.batch(found))
            let piece = found.takePiece()
            stream.write(piece) { [found] in lookUp(found, from: next, stream) }
        } else {
            // Nothing can be written before all of the answer is there, and gathering all of it may take long. With leases that is so as well:
            // they are given back if nobody is left to take the answer, and what is waited for stands among the entries. And so it is where
            // the bytes come after all that is said of them.
            router.noteLongCall()
            router.perform(true) { [found] in lookUp(found, from: next, nil) }
        }
    }

    private func end(_ begun: consuming FoundBatch, _ stream: AnswerStream?) {
        guard ask.mode == .leases else {
            return respond(begun, stream)
        }
        // A batch with a lease answers at once, so that its caller can begin to load: two batches that each waited for the other's keys
        // would both wait in vain.
        guard begun.leases.isEmpty, !begun.filling.isEmpty, ask.lease.wait > 0 else {
            router.store.countRefusals(namespace, begun.refused.map { router.store.address(namespace, keys[$0]) })
            return endLeases(begun, stream)
        }
        // Those of a failed source are not asked for again.
        let failed = begun.refused.filter { index in !begun.filling.contains { $0.index == index } }
        router.store.countRefusals(namespace, failed.map { router.store.address(namespace, keys[$0]) })
        let wait = BatchWait(begun, keys, router.store, namespace, ttl: ask.lease.ttl, until: deadline) { found in
            endLeases(found, stream)
        }
        exchange.onCancel { _ in wait.end() }
        wait.begin()
    }

    private func endLeases(_ begun: consuming FoundBatch, _ stream: AnswerStream?) {
        exchange.onLoop { [begun] in
            guard exchange.isUnanswered else {
                for (index, lease) in begun.leases { takeBack(lease, of: index) }
                return
            }
            // An answer that has begun ends as it began.
            guard stream != nil || exchange.stillAllows(namespace) else {
                for (index, lease) in begun.leases { takeBack(lease, of: index) }
                exchange.noteLostWait(.batchLease, namespace)
                return exchange.respond(Response(problem: .tokenInvalid, operation: .batchLease))
            }
            respond(begun, stream)
        }
    }

    /// Takes back a lease whose caller is gone.
    private func takeBack(_ lease: Lease, of index: Int) {
        // The lease may be lost already, which is just as well.
        try? router.store.release(namespace, router.store.address(namespace, keys[index]), lease.token, pause: nil)
    }

    private func respond(_ begun: consuming FoundBatch, _ stream: AnswerStream?) {
        var found = begun
        let head = Response.batch(found)
        let answer = found.response()
        if let stream { stream.end(answer) } else { exchange.respond(head, with: answer) }
    }
}

extension BatchResult {
    init(_ answer: LeaseAnswer) {
        switch answer {
        case .hit(let hit): self = .entry(.hit(hit))
        case .absent(let hit): self = .entry(.absent(hit))
        case .larger(let size): self = .entry(.larger(size))
        case .given(let lease, _): self = .given(lease)
        case .refresh(let lease, let hit): self = .refresh(lease, hit)
        case .refused(let refusal): self = .refused(refusal)
        case .failed: self = .failed
        }
    }
}

extension Response {
    /// The head of an answer to a batch, before the answer is taken.
    fileprivate static func batch(_ found: borrowing FoundBatch) -> Response {
        let applied: String? =
            switch found.mode {
            case .entries, .leases: nil
            case .values: "return=minimal"
            case .rawValues: found.isFramed ? "return=minimal, bytes=raw" : "return=minimal"
            }
        return Response(
            status: 200,
            contentType: found.isFramed ? MediaType.batch : MediaType.json,
            headers: applied.map { [("Preference-Applied", $0)] } ?? [],
            operation: found.mode == .leases ? .batchLease : .batchGet
        )
    }
}

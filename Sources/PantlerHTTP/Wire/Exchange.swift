internal import NIOCore
internal import NIOHTTP1
import PantlerInsight
import PantlerModel
import PantlerStore
internal import Synchronization

/// The place of one request's answer. It is bound to its connection's loop, and answered exactly once, as a whole (`respond`) or in pieces
/// (`begin`).
///
/// An exchange ends with its answer, or with its client: whoever waits for something to answer with can ask to be told of that
/// (`onCancel`).
final class Exchange: Sendable {
    let method: Method
    /// The request's number on its connection.
    let number: UInt64
    /// What its answer is marked by.
    let requestID: RequestID
    /// Bytes that the answer to a batch of gets may have.
    let answerSize: Int
    /// `nil` where requests are not logged.
    let logged: LoggedRequest?
    let began: NIODeadline
    /// Who made the request.
    let caller: Caller
    private let router: Router
    /// The request's fields.
    private let headers: HTTPHeaders
    private let connection: NIOLoopBound<Connection>
    /// Counts the request's body among the bytes in flight until all that the request asks for is done, even if the client is gone by then.
    private let claim: Mutex<FlightClaim?>

    init(
        connection: Connection,
        loop: LoopState,
        method: Method,
        number: UInt64,
        requestID: RequestID,
        takesPieces: Bool,
        logged: LoggedRequest?,
        headers: HTTPHeaders,
        caller: Caller,
        began: NIODeadline,
        claim: FlightClaim?
    ) {
        self.method = method
        self.number = number
        self.requestID = requestID
        self.takesPieces = takesPieces
        self.logged = logged
        self.headers = headers
        self.caller = caller
        router = loop.router
        self.began = began
        self.claim = Mutex(claim)
        answerSize = min(loop.limits.answerSize, loop.limits.bytesInFlight)
        self.connection = NIOLoopBound(connection, eventLoop: loop.eventLoop)
    }

    /// Stops counting the request's body, because the request is answered. Others may still hold the body for a moment.
    func endBody() {
        // The claim ends outside of the lock, because others may be told then that there is room.
        _ = claim.withLock { $0.take() }
    }

    /// The answer's frame. To be called on the loop.
    var frame: AnswerFrame { connection.value.frame(of: self) }

    /// Answers, from any thread. An answer to a connection that is gone meanwhile is dropped. A long text is compressed where the client
    /// takes that, though not on the loop.
    func respond(_ response: Response) {
        guard let gzip = router.options.gzip, response.isLong else { return give(response) }
        let response = response.varying(by: "Accept-Encoding")
        guard Accept.takesGzip(headers) else { return give(response) }
        router.perform(connection.eventLoop.inEventLoop) { self.give(response.encoded(gzip)) }
    }

    private func give(_ response: Response) {
        if connection.eventLoop.inEventLoop { return connection.value.answer(self, response) }
        connection.eventLoop.execute { self.connection.value.answer(self, response) }
    }

    /// Answers with a body of text and values, from any thread.
    func respond(_ response: Response, with body: WireAnswer) {
        if connection.eventLoop.inEventLoop { return connection.value.answer(self, response, with: body) }
        connection.eventLoop.execute { self.connection.value.answer(self, response, with: body) }
    }

    /// Answers with an entry that was found. To be called on the loop, and not within the store's closure: this may write to the socket,
    /// for which no lock may be held.
    func respond(_ answer: EntryAnswer) {
        connection.value.answer(self, answer)
    }

    /// Waits for room for an answer of `bytes` bytes, from any thread. `body` is run on the loop, and gets `nil` where there was none for
    /// too long.
    func withRoom(_ bytes: Int, _ body: @escaping @Sendable (FlightClaim?) -> Void) {
        onLoop { self.connection.value.loop.withRoom(bytes, body) }
    }

    /// Reads an entry from the lower tier: see `LoopState.load`. To be called on the loop, on which `completion` is run.
    func load(
        _ namespace: Namespace,
        _ address: EntryAddress,
        counts: Bool,
        completion: @escaping @Sendable (RoomyLoad) -> Void
    ) {
        connection.value.loop.load(namespace, address, counts: counts, completion)
    }

    /// Asks for an entry, or the lease of its key: see `LoopState.lease`. To be called on the loop, on which `completion` is run. A call that
    /// waits is cancelled if its client leaves, or the server stops.
    func lease(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ ask: LeaseAsk,
        completion: @escaping @Sendable (RoomyLease) -> Void
    ) {
        connection.value.loop.lease(
            namespace,
            address,
            ask,
            began: { call in
                guard self.isAwaited else { return call.cancel() }
                self.onCancel { why in
                    // What does not wait is answered soon.
                    guard call.isWaiting else { return }
                    call.cancel()
                    if why == .tokenEnded { self.noteLostWait(.lease, namespace) }
                    self.respond(Response(problem: .waitEnded(why), operation: .lease))
                }
            },
            { lease in
                guard self.stillAllows(namespace) else {
                    lease.takeBack(namespace, address, self.router.store)
                    if self.isAwaited { self.noteLostWait(.lease, namespace) }
                    return self.respond(Response(problem: .tokenInvalid, operation: .lease))
                }
                completion(lease)
            }
        )
    }

    /// Whether its caller may still do in a namespace what it has waited for. To be called on the loop.
    func stillAllows(_ namespace: Namespace) -> Bool {
        guard case .token(let pass) = caller else { return true }
        return connection.value.stillAllows(pass, namespace)
    }

    /// Counts and writes down that a wait has ended with its caller's token. To be called on the loop.
    func noteLostWait(_ operation: Operation, _ namespace: Namespace) {
        connection.value.noteLostWait(operation, namespace, caller)
    }

    /// Whether the metrics are open to all where the request came in. To be called on the loop.
    var opensMetrics: Bool { connection.value.door.opensMetrics }

    /// Whether the answer is still to be given, and somebody is there to take it. To be called on the loop.
    var isAwaited: Bool { connection.value.state.isAwaited(number) }

    /// Whether the answer, which may have begun, is still to be given, and somebody is there to take it. To be called on the loop.
    var isUnanswered: Bool { isAwaited || connection.value.state.isWriting(number) }

    /// Answers with what a write has left of the entry of a key, or with why it was not made. To be called on the loop.
    func respond(_ result: Result<Written, Problem>, _ key: [UInt8], _ operation: Operation) {
        switch result {
        case .success(let written): connection.value.answer(self, written, key, operation)
        case .failure(let problem): respond(Response(problem: problem, operation: operation))
        }
    }

    // MARK: Answers in pieces

    /// Whether the answer can be written in pieces: HTTP/1.0 knows no chunks, and HEAD is told the length.
    let takesPieces: Bool

    /// Begins an answer that is written in pieces, from any thread. To be called only if `takesPieces` says so.
    func begin(_ response: Response) -> AnswerStream {
        onLoop { self.connection.value.begin(self, response) }
        return AnswerStream(exchange: self, response: response)
    }

    func write(_ piece: WireAnswer, then next: @escaping @Sendable () -> Void) {
        onLoop { self.connection.value.write(self, piece, then: next) }
    }

    func end(_ response: Response, _ piece: WireAnswer) {
        onLoop { self.connection.value.end(self, response, piece) }
    }

    // MARK: The client's leaving

    /// Has `body` called, once and on the loop, if nobody waits for the answer any more before it is given; at once if that is so already.
    /// `body` may still answer. It takes the place of what was registered before. To be called from any thread.
    func onCancel(_ body: @escaping @Sendable (Cancellation) -> Void) {
        onLoop { self.connection.value.onCancel(of: self, body) }
    }

    // MARK: Threads

    /// Answers from any thread. The response is made on that thread, because this may take long.
    func respondFromAnywhere(_ make: () -> Response) { respond(make()) }

    /// Runs `body` on the loop, at once if the caller is on it.
    func onLoop(_ body: @escaping @Sendable () -> Void) { connection.eventLoop.perform(body) }

    /// The allocator for the body of a response.
    var allocator: ByteBufferAllocator { ByteBufferAllocator() }
}

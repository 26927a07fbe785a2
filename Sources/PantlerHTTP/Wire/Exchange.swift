internal import NIOCore
internal import NIOHTTP1
import PantlerInsight
import PantlerModel
import PantlerStore
internal import Synchronization

/// The place of one request's answer: bound to its connection's loop, answered exactly once, as a whole (`respond`) or in pieces (`begin`).
///
/// It ends with its answer, or with its client: who waits for something to answer with asks to be told of that (`onCancel`).
final class Exchange: Sendable {
    let method: Method
    /// The request's number on its connection.
    let number: UInt64
    /// Bytes that the answer to a batch of gets may have.
    let answerSize: Int
    /// For the log.
    let target: String
    let began: NIODeadline
    private let router: Router
    /// Of the request.
    private let headers: HTTPHeaders
    private let connection: NIOLoopBound<Connection>
    /// What counts the request's body among the bytes in flight: until all is done that the request asks for, also if nobody is there any
    /// more to be answered.
    private let claim: Mutex<FlightClaim?>

    init(
        connection: Connection,
        loop: LoopState,
        method: Method,
        number: UInt64,
        takesPieces: Bool,
        target: String,
        headers: HTTPHeaders,
        began: NIODeadline,
        claim: FlightClaim?
    ) {
        self.method = method
        self.number = number
        self.takesPieces = takesPieces
        self.target = target
        self.headers = headers
        router = loop.router
        self.began = began
        self.claim = Mutex(claim)
        answerSize = min(loop.limits.answerSize, loop.limits.bytesInFlight)
        self.connection = NIOLoopBound(connection, eventLoop: loop.eventLoop)
    }

    /// The request is answered: its body counts no more, whoever else is still about to let go of it.
    func endBody() {
        // Given back after the lock: others may be told that there is room.
        _ = claim.withLock { $0.take() }
    }

    /// What the answer says besides its own. On the loop.
    var frame: AnswerFrame { connection.value.frame(of: self) }

    /// Answers. From any thread. An answer to a connection that is gone meanwhile is dropped. A long text is made shorter where the client
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

    /// The same with a body that is text and values.
    func respond(_ response: Response, with body: WireAnswer) {
        if connection.eventLoop.inEventLoop { return connection.value.answer(self, response, with: body) }
        connection.eventLoop.execute { self.connection.value.answer(self, response, with: body) }
    }

    /// Answers with an entry that was found. On the loop, and not within the store's closure: this may write to the socket,
    /// for which no lock is held.
    func respond(_ answer: EntryAnswer) {
        connection.value.answer(self, answer)
    }

    /// Waits for room for an answer of `bytes` bytes. From any thread. `body` is run on the loop, and gets `nil` where there has been none for
    /// too long.
    func withRoom(_ bytes: Int, _ body: @escaping @Sendable (FlightClaim?) -> Void) {
        onLoop { self.connection.value.loop.withRoom(bytes, body) }
    }

    /// Reads an entry from the lower tier: see `LoopState.load`. On the loop, and so is `completion`.
    func load(
        _ namespace: Namespace,
        _ address: EntryAddress,
        counts: Bool,
        completion: @escaping @Sendable (RoomyLoad) -> Void
    ) {
        connection.value.loop.load(namespace, address, counts: counts, completion)
    }

    /// Answers with what a write has left of the entry of a key, or why it has not been made. On the loop.
    func respond(_ result: Result<Written, Problem>, _ key: [UInt8], _ operation: Operation) {
        switch result {
        case .success(let written): connection.value.answer(self, written, key, operation)
        case .failure(let problem): respond(Response(problem: problem, operation: operation))
        }
    }

    // MARK: Answers in pieces

    /// Whether the answer can be written in pieces: HTTP/1.0 knows no chunks, and to HEAD the length is told.
    let takesPieces: Bool

    /// Begins an answer that is written in pieces. From any thread. Only where `takesPieces` says so.
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

    /// Has `body` told, once and on the loop, if nobody waits for the answer any more before it is given: at once where that is so already. From any
    /// thread. It may answer still. What was registered before is told nothing.
    func onCancel(_ body: @escaping @Sendable (Cancellation) -> Void) {
        onLoop { self.connection.value.onCancel(of: self, body) }
    }

    // MARK: Threads

    /// Answers from any thread, on which the response is made: it may take long.
    func respondFromAnywhere(_ make: () -> Response) { respond(make()) }

    /// Runs `body` on the loop: at once where this is it.
    func onLoop(_ body: @escaping @Sendable () -> Void) { connection.eventLoop.perform(body) }

    /// For the body of a response.
    var allocator: ByteBufferAllocator { ByteBufferAllocator() }
}

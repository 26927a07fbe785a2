internal import NIOCore
import PantlerInsight
import PantlerModel
import PantlerStore

/// The place of one request's answer: bound to its connection's loop, answered exactly once. The connection keeps the
/// order of the wire, whatever the order in which its exchanges are answered.
final class Exchange: Sendable {
    let method: Method
    /// The request's number on its connection.
    let number: UInt64
    private let connection: NIOLoopBound<Connection>

    init(connection: Connection, loop: LoopState, method: Method, number: UInt64) {
        self.method = method
        self.number = number
        self.connection = NIOLoopBound(connection, eventLoop: loop.eventLoop)
    }

    /// What the answer says besides its own. On the loop.
    var frame: AnswerFrame { connection.value.frame }

    /// Answers. On the loop. An answer to a connection that is gone meanwhile is dropped.
    func respond(_ response: Response) {
        connection.value.answer(self, response)
    }

    /// Answers with an entry that was found. On the loop, and not within the store's closure: this may write to the socket,
    /// for which no lock is held.
    func respond(_ answer: EntryAnswer) {
        connection.value.answer(self, answer)
    }

    /// Answers with what a write has left of the entry of a key, or why it has not been made. On the loop.
    func respond(_ result: Result<Written, Problem>, _ key: [UInt8], _ operation: Operation) {
        switch result {
        case .success(let written): connection.value.answer(self, written, key, operation)
        case .failure(let problem): respond(Response(problem: problem, operation: operation))
        }
    }

    /// Answers from any thread; `make` runs on the loop.
    func respondFromAnywhere(_ make: @escaping @Sendable () -> Response) {
        onLoop { self.respond(make()) }
    }

    /// Runs `body` on the loop: at once where this is it.
    func onLoop(_ body: @escaping @Sendable () -> Void) { connection.eventLoop.perform(body) }

    /// For the body of a response.
    var allocator: ByteBufferAllocator { ByteBufferAllocator() }
}

internal import NIOCore

/// An answer that has begun and is written piece by piece, as the client takes it, so that it is never in memory as a whole.
///
/// It may be used from any thread, by one at a time. A piece for a connection that is gone meanwhile is dropped, and `next` is never called
/// then: whatever it holds is released.
struct AnswerStream: Sendable {
    let exchange: Exchange
    /// The head; its body is not looked at.
    let response: Response

    /// Writes a piece.
    ///
    /// - Parameter next: runs on the loop, once and later, when the client has taken so much of what was written that there is room for more.
    func write(_ piece: WireAnswer, then next: @escaping @Sendable () -> Void) {
        exchange.write(piece, then: next)
    }

    /// Writes the last piece.
    func end(_ piece: WireAnswer = WireAnswer()) { exchange.end(response, piece) }
}

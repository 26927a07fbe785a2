internal import NIOCore

/// An answer that has begun and is written piece by piece, as the client takes it: so it need not be there as a whole at any time.
///
/// From any thread, one at a time. What is written to a connection that is gone meanwhile is dropped, and what was to come after it is
/// never asked for: whatever the pieces are made of is let go of.
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

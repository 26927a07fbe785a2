import Synchronization

/// Bytes that the sockets of a loop have received and sent.
///
/// Counted by the loop alone, read by any thread: a count is a plain load, an addition and a plain store. Both are relaxed: they publish no
/// other memory.
package final class LoopTraffic: Sendable {
    private let received = Atomic<UInt64>(0)
    private let sent = Atomic<UInt64>(0)

    package init() {}

    package var receivedBytes: UInt64 { received.load(ordering: .relaxed) }
    package var sentBytes: UInt64 { sent.load(ordering: .relaxed) }

    /// On the loop. Nothing is counted of what is no number of bytes.
    func noteReceived(_ bytes: Int) { Self.add(bytes, to: received) }
    func noteSent(_ bytes: Int) { Self.add(bytes, to: sent) }

    /// Not atomic as a whole, which is right as long as nobody else writes.
    private static func add(_ bytes: Int, to sum: borrowing Atomic<UInt64>) {
        guard bytes > 0 else { return }
        sum.store(sum.load(ordering: .relaxed) &+ UInt64(bytes), ordering: .relaxed)
    }
}

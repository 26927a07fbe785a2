import PantlerCodec
import PantlerModel
import Synchronization

/// What becomes of a value before it comes to its row: deflated on a thread of the `DeflaterPool`, so that no transaction lasts for as long
/// as deflating takes.
final class Deflation: Sendable {
    /// Values below this size are deflated as they are written: that takes less than handing them over.
    static let leastBytes = 2048

    private enum State {
        /// Nobody deflates the value: the writer does so when it writes it.
        case idle
        case waiting
        /// The deflated value; `nil` = deflating does not pay.
        case done([UInt8]?)
    }

    private let state = Mutex(State.idle)
    /// Whether `state` is `waiting`, without the lock, for the writer, which looks at many. Releasing and acquiring, so that the writer sees
    /// what was stored before.
    private let waits = Atomic(false)

    /// `nil` where the writer deflates the value as it writes it, or it is to be stored as it is.
    init?(of value: [UInt8], _ options: PutOptions) {
        guard value.count >= Self.leastBytes, Self.isWanted(value, options) else { return nil }
    }

    static func isWanted(_ value: [UInt8], _ options: PutOptions) -> Bool {
        options.compressionLevel > 0 && Int64(value.count) >= options.compressionThreshold
    }

    /// Whether it waits for a thread of the pool.
    var isWaiting: Bool { waits.load(ordering: .acquiring) }

    /// What is to be stored: `.some(nil)` = the value as it is; `nil` = it is not known yet.
    var stored: [UInt8]?? {
        guard case .done(let bytes) = state.withLock({ $0 }) else { return nil }
        return .some(bytes)
    }

    /// Notes that a thread is going to deflate the value.
    func begin() {
        state.withLock { $0 = .waiting }
        waits.store(true, ordering: .releasing)
    }

    func finish(_ bytes: [UInt8]?) {
        state.withLock { $0 = .done(bytes) }
        waits.store(false, ordering: .releasing)
    }

    /// Notes that no thread will deflate the value after all.
    func leaveToWriter() {
        state.withLock { $0 = .idle }
        waits.store(false, ordering: .releasing)
    }
}

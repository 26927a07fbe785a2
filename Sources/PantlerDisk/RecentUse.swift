import PantlerModel
import Synchronization

/// Which rows were read or rewritten lately: what gives them a second chance when room is made.
///
/// A bit for each of 131,072 groups of hashes, so that it costs 16 KiB whatever the tier holds; rows that share a bit share their chance.
/// Once half of the bits are set they say little, and all are cleared.
final class RecentUse: Sendable {
    private struct State {
        var words = [UInt64](repeating: 0, count: RecentUse.bits / 64)
        var count = 0
    }

    private static let bits = 1 << 17
    private let state = Mutex(State())

    func note(_ hash: UInt64) {
        let (word, bit) = Self.place(hash)
        state.withLock {
            guard $0.words[word] & bit == 0 else { return }
            if $0.count >= Self.bits / 2 { $0 = State() }
            $0.words[word] |= bit
            $0.count += 1
        }
    }

    /// Whether it was noted.
    func contains(_ hash: UInt64) -> Bool {
        let (word, bit) = Self.place(hash)
        return state.withLock { $0.words[word] & bit != 0 }
    }

    /// Whether it was noted; the note is used up.
    func take(_ hash: UInt64) -> Bool {
        let (word, bit) = Self.place(hash)
        return state.withLock {
            guard $0.words[word] & bit != 0 else { return false }
            $0.words[word] &= ~bit
            $0.count -= 1
            return true
        }
    }

    private static func place(_ hash: UInt64) -> (word: Int, bit: UInt64) {
        let bit = Int(truncatingIfNeeded: hash % UInt64(bits))
        return (bit / 64, 1 << UInt64(bit % 64))
    }
}

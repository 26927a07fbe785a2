import PantlerModel

/// The reads of heads that are under way for keys of one shard, as a part of `PendingLoads`. The shard's lock guards them.
///
/// As with whole entries, what was read never overtakes a write. But each call makes its own read and waits for no other's, because reading
/// a head is short.
struct PendingHeads {
    private struct Read {
        let address: EntryAddress
        let number: UInt64
    }

    private var reads: [UInt64: [Read]] = [:]
    private var latest: UInt64 = 0

    /// Notes that a read begins. It has to be followed by `end`, with the number that this returns.
    mutating func begin(_ address: EntryAddress) -> UInt64 {
        latest += 1
        reads[address.hash, default: []].append(Read(address: address, number: latest))
        return latest
    }

    /// Notes that a read has ended. Returns whether its result may be used: whether the key was neither written nor invalidated meanwhile.
    mutating func end(_ address: EntryAddress, _ number: UInt64) -> Bool {
        guard var under = reads[address.hash], let place = under.firstIndex(where: { $0.number == number }) else {
            return false
        }
        under.remove(at: place)
        reads[address.hash] = under.isEmpty ? nil : under
        return true
    }

    mutating func invalidate(_ hash: UInt64) {
        if !reads.isEmpty { reads[hash] = nil }
    }

    /// Complexity: O(reads under way).
    mutating func invalidate(_ namespace: NamespaceID, prefix: [UInt8]) {
        guard !reads.isEmpty else { return }
        reads = reads.filter { !$0.value.contains { $0.address.isIn(namespace, prefix: prefix) } }
    }
}

/// Holds the versions of all keys to their promise: they grow strictly over the whole service, and none is ever used twice.
struct VersionCheck: Sendable {
    /// What a version was given for.
    private struct Use: Hashable, CustomStringConvertible {
        let key: String
        let value: Int

        var description: String { "\(value) at \(key)" }
    }

    private struct Gift {
        let version: Int
        let use: Use
        let invokedAt: UInt64
        let answeredAt: UInt64
    }

    private var uses: [Int: Use] = [:]
    /// The largest that was answered so far.
    private var newest = 0

    /// Takes the next part of the history, with the operations of each key.
    ///
    /// - Returns: what breaks the promise.
    mutating func take(_ histories: [(key: String, operations: [KeyOperation])]) -> [String] {
        var complaints: [String] = []
        var gifts: [Gift] = []
        for (key, operations) in histories {
            for operation in operations {
                switch (operation.answer, operation.call) {
                case (.stored(let version, _), .put(let put)):
                    let use = Use(key: key, value: put.value)
                    gifts.append(
                        Gift(
                            version: version,
                            use: use,
                            invokedAt: operation.invokedAt,
                            answeredAt: operation.answeredAt
                        )
                    )
                    note(version, use, &complaints)
                case (.found(let sighting), _), (.granted(_, stale: let sighting?), _):
                    note(sighting.version, Use(key: key, value: sighting.value), &complaints)
                default: break
                }
            }
        }
        complaints += checkGrowth(gifts)
        newest = max(newest, gifts.map(\.version).max() ?? 0)
        return complaints
    }

    private mutating func note(_ version: Int, _ use: Use, _ complaints: inout [String]) {
        guard let other = uses.updateValue(use, forKey: version), other != use else { return }
        complaints.append("version \(version) was given for \(other), and for \(use)")
    }

    /// A version is larger than each that was answered before it was asked for.
    private func checkGrowth(_ gifts: [Gift]) -> [String] {
        var complaints: [String] = []
        let answered = gifts.sorted { $0.answeredAt < $1.answeredAt }
        var next = answered[...]
        var floor = newest
        for gift in gifts.sorted(by: { $0.invokedAt < $1.invokedAt }) {
            while let other = next.first, other.answeredAt < gift.invokedAt {
                floor = max(floor, other.version)
                next.removeFirst()
            }
            if gift.version <= floor {
                complaints.append("version \(gift.version) of \(gift.use) was given after version \(floor)")
            }
        }
        return complaints
    }
}

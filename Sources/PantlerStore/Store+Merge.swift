import PantlerInsight
import PantlerJSON
import PantlerMemory
import PantlerModel

// Merges into a JSON value. They take as long as target and patch are, so that they are made outside of the shard's lock, long ones
// outside of the event loops, and stored if nobody has written meanwhile.
extension Store {
    /// Bytes of target and patch together up to which a merge is made where it is asked for.
    private static let shortMerge = 64 << 10
    /// Tries after which a merge takes the key's writes to itself: others wait then for as long as one merge takes, in their order,
    /// and it ends however often the key is written.
    private static let freeTries = 3

    /// What a merge begins with.
    private struct Target: Sendable {
        enum Value: Sendable {
            case bytes([UInt8])
            case large(LargeValue)
        }

        let version: Version
        let value: Value

        var count: Int {
            switch value {
            case .bytes(let bytes): bytes.count
            case .large(let large): large.bytes.count
            }
        }
    }

    /// A merge under way.
    private struct Merge: Sendable {
        let namespace: Namespace
        let address: EntryAddress
        let value: [UInt8]
        let patch: Patch
        let completion: @Sendable (Result<Written, Problem>) -> Void
        var tries = 0
        /// Whether it has the key's writes to itself.
        var isHolder = false
    }

    /// Merges `value` into that of the entry, and changes what else the patch says.
    func merge(
        _ namespace: Namespace,
        _ address: EntryAddress,
        _ value: [UInt8],
        _ patch: Patch,
        _ completion: @escaping @Sendable (Result<Written, Problem>) -> Void
    ) {
        attempt(Merge(namespace: namespace, address: address, value: value, patch: patch, completion: completion))
    }

    private func attempt(_ merge: Merge) {
        let policy = merge.namespace.policy
        let late = LateAnswer<Target>(completion: { [self] result in
            switch result {
            case .failure(let problem): end(merge, .failure(problem))
            case .success(let target):
                guard target.count + merge.value.count > Self.shortMerge else { return make(merge, target, policy) }
                merges.async { [self] in make(merge, target, policy) }
            }
        })
        write(merge.namespace, merge.address, policy, isHolder: merge.isHolder, late) {
            shard,
            standing,
            _ throws(Problem) in
            try merge.patch.condition.check(standing.version)
            return Step(answer: try Self.target(standing, shard))
        }
    }

    /// A small value is copied, and a large one taken hold of.
    private static func target(_ standing: Standing, _ shard: borrowing Shard) throws(Problem) -> Target {
        let isJSON: Bool
        let target: Target
        switch standing {
        case .head, .unknown, .none: throw .notFound(standing.reason)
        case .lower(let entry):
            isJSON = entry.kind == .json
            target = Target(version: entry.version, value: .bytes(entry.value))
        case .memory(let ref, let view):
            isJSON = view.isJSON
            let large = view.isLarge ? shard.memory.largeValue(ref) : nil
            target = Target(version: view.version, value: large.map { .large($0) } ?? .bytes(Array(view.value)))
        }
        guard isJSON else {
            throw Problem(.notJSON, "The value is bytes with a media type: only a JSON value can be merged into.")
        }
        return target
    }

    private func make(_ merge: Merge, _ target: Target, _ policy: Policy) {
        let merged: [UInt8]
        do throws(Problem) {
            merged = try Self.merged(target, merge.value, policy)
        } catch {
            return end(merge, .failure(error))
        }
        let large = LargeValue.copy(of: merged)
        let late = LateAnswer<Written?>(completion: { [self] result in
            switch result {
            case .failure(let problem): end(merge, .failure(problem))
            case .success(let written?): end(merge, .success(written))
            case .success(nil): tryAgain(merge)
            }
        })
        write(merge.namespace, merge.address, policy, needsValue: false, isHolder: merge.isHolder, late) {
            [self] shard, standing, moment throws(Problem) in
            let policy = merge.namespace.policy
            // Another write came between, or nothing is there any more: the next try finds out.
            guard standing.version == target.version, let head = standing.head else { return Step(answer: nil) }
            // The policy may have changed since the merge was measured.
            let size = Int64(merged.count)
            if size > policy.maxValueSize { throw .valueTooLarge(size, limit: policy.maxValueSize) }
            var entry = Entry(
                value: merged,
                kind: .json,
                version: head.version,
                expiresAt: head.expiresAt,
                staleTTL: head.staleTTL,
                tags: head.tags
            )
            try change(&entry, merge.patch, policy, moment)
            shard.tally[merge.namespace.slot].puts &+= 1
            let ticket = store(&shard, merge.namespace, merge.address, entry, large, policy, moment)
            let expiresAt = entry.expiresAt.wallTime(aheadBy: moment.wallOffset)
            let written = Written(version: entry.version, expiresAt: expiresAt, isNew: false)
            return Step(answer: written, ticket: ticket, stored: entry.version, durability: policy.durability)
        }
    }

    private static func merged(_ target: Target, _ patch: [UInt8], _ policy: Policy) throws(Problem) -> [UInt8] {
        // A patch that is larger than any value costs more than it can bring.
        let patchSize = Int64(patch.count)
        if patchSize > policy.maxValueSize { throw .valueTooLarge(patchSize, limit: policy.maxValueSize) }
        do {
            return try patch.withUnsafeBufferPointer { patch throws(JSONError) in
                func merge(_ target: UnsafeRawBufferPointer) throws(JSONError) -> [UInt8] {
                    try JSON.mergePatch(
                        target: target,
                        patch: UnsafeRawBufferPointer(patch),
                        maxDepth: Limits.jsonDepth,
                        limit: Int(clamping: policy.maxValueSize)
                    )
                }
                switch target.value {
                case .large(let large): return try merge(large.bytes)
                case .bytes(let bytes):
                    return try bytes.withUnsafeBufferPointer { bytes throws(JSONError) in
                        try merge(UnsafeRawBufferPointer(bytes))
                    }
                }
            }
        } catch .tooLarge(let size, let limit) {
            throw .valueTooLarge(Int64(size), limit: Int64(limit))
        } catch {
            throw Problem(.jsonTooDeep, "The merged value cannot be kept: \(error).")
        }
    }

    private func tryAgain(_ merge: Merge) {
        var next = merge
        next.tries += 1
        guard next.tries >= Self.freeTries, !next.isHolder else { return attempt(next) }
        hold(next)
    }

    /// Goes on once the merge has the key's writes to itself.
    private func hold(_ merge: Merge) {
        var holder = merge
        holder.isHolder = true
        let held = holder
        var isHeld = false
        shards.withShard(merge.address.hash) { shard in
            isHeld = shard.loads.hold(merge.address.hash)
            if !isHeld { shard.loads.wait(for: merge.address.hash) { [self] in hold(merge) } }
        }
        if isHeld { attempt(held) }
    }

    private func end(_ merge: Merge, _ result: Result<Written, Problem>) {
        var waiting: [@Sendable () -> Void] = []
        if merge.isHolder {
            shards.withShard(merge.address.hash) { waiting = $0.loads.release(merge.address.hash) }
        }
        merge.completion(result)
        for action in waiting { action() }
    }
}

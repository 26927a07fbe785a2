import PantlerInsight
import PantlerJSON
import PantlerMemory
import PantlerModel

/// Merges patches into JSON values (RFC 7396).
///
/// A merge takes longer the larger target and patch are. So it is made outside of the shard's lock, and a long one outside of the event
/// loops; its result is stored if nobody has written the key meanwhile.
final class Merges: Sendable {
    private let writes: EntryWrites
    let pool = WorkerPool("merges", width: 2)

    init(_ writes: EntryWrites) { self.writes = writes }

    /// Bytes of target and patch together up to which a merge is made on the thread that has got the target.
    private static let shortMerge = 64 << 10
    /// After so many tries, a merge holds the key. Other writers wait then for as long as one merge takes, in their order, and the merge
    /// ends however often the key is written.
    private static let freeTries = 3

    /// A merge under way.
    private struct Merge: Sendable {
        let namespace: Namespace
        let address: EntryAddress
        let value: [UInt8]
        let patch: Patch
        let completion: @Sendable (Result<Written, Problem>) -> Void
        var tries = 0
        /// Whether the merge holds the key; see `EntryWrites.hold`.
        var isHolder = false
    }

    /// Merges `value` into the entry's value, and makes the other changes of the patch.
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
        let step = MergeTargetStep(condition: merge.patch.condition)
        writes.write(step, merge.namespace, merge.address, isHolder: merge.isHolder) { [self] result in
            switch result {
            case .failure(let problem): end(merge, .failure(problem))
            case .success(let target):
                guard target.count + merge.value.count > Self.shortMerge else { return make(merge, target) }
                pool.async { [self] in make(merge, target) }
            }
        }
    }

    private func make(_ merge: Merge, _ target: MergeTarget) {
        let merged: [UInt8]
        do throws(Problem) {
            merged = try target.merged(with: merge.value, merge.namespace.policy)
        } catch {
            return end(merge, .failure(error))
        }
        let step = MergeStep(base: target.version, value: merged, patch: merge.patch)
        writes.write(step, merge.namespace, merge.address, isHolder: merge.isHolder) { [self] result in
            switch result {
            case .failure(let problem): end(merge, .failure(problem))
            case .success(let merged):
                if let written = merged.written { end(merge, .success(written)) } else { tryAgain(merge) }
            }
        }
    }

    private func tryAgain(_ merge: Merge) {
        var next = merge
        next.tries += 1
        guard next.tries >= Self.freeTries, !next.isHolder else { return attempt(next) }
        hold(next)
    }

    /// Goes on once the merge holds the key.
    private func hold(_ merge: Merge) {
        guard writes.hold(merge.address, { [self] in hold(merge) }) else { return }
        var holder = merge
        holder.isHolder = true
        attempt(holder)
    }

    private func end(_ merge: Merge, _ result: Result<Written, Problem>) {
        guard merge.isHolder else { return merge.completion(result) }
        writes.release(merge.address) { merge.completion(result) }
    }
}

/// The value that a patch is merged into, with the version of its entry.
private struct MergeTarget: ChangeAnswer {
    enum Value: Sendable {
        case bytes([UInt8])
        case large(LargeValue)
    }

    var version: Version
    let value: Value

    var count: Int {
        switch value {
        case .bytes(let bytes): bytes.count
        case .large(let large): large.bytes.count
        }
    }

    /// The value with a patch merged into it. Complexity: O(value + patch).
    ///
    /// Fails with `value_too_large` or `json_too_deep`.
    func merged(with patch: [UInt8], _ policy: Policy) throws(Problem) -> [UInt8] {
        // A patch that is larger than any value may be is refused: merging it would cost more than it could bring.
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
                switch value {
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
}

/// Takes the value that is merged into: a small one is copied, and of a large one a reference is taken.
private struct MergeTargetStep: EntryStep {
    static let looksAtValue = true

    let condition: Condition

    func decide(_ standing: Standing, _: Policy, _: Moment) throws(Problem) -> Decision<MergeTarget> {
        guard standing.isPresent else { throw .notFound(standing.reason) }
        let isJSON: Bool
        let target: MergeTarget
        switch standing {
        case .head, .unknown, .none: throw .notFound(standing.reason)
        case .lower(let entry):
            isJSON = entry.kind == .json
            target = MergeTarget(version: entry.version, value: .bytes(entry.value))
        case .memory(_, let view, let large):
            isJSON = view.isJSON
            target = MergeTarget(
                version: view.version,
                value: large.map { .large($0) } ?? .bytes(Array(view.value))
            )
        }
        guard isJSON else {
            throw Problem(.notJSON, "The value is bytes with a media type: only a JSON value can be merged into.")
        }
        return .nothing(target)
    }
}

/// Stores a merged value if the entry that it was merged into still stands there.
private struct MergeStep: EntryStep {
    static let looksAtValue = false

    let base: Version
    let value: [UInt8]
    let large: LargeValue?
    let patch: Patch

    init(base: Version, value: [UInt8], patch: Patch) {
        self.base = base
        self.value = value
        self.patch = patch
        large = LargeValue.copy(of: value)
    }

    func decide(_ standing: Standing, _ policy: Policy, _ moment: Moment) throws(Problem) -> Decision<Merged> {
        // Another write has come in between, or nothing is there any more: the next try finds out which.
        guard standing.version == base, let head = standing.head else { return .nothing(Merged(written: nil)) }
        // The policy may have changed since the merge was made.
        let size = Int64(value.count)
        if size > policy.maxValueSize { throw .valueTooLarge(size, limit: policy.maxValueSize) }
        var entry = Entry(
            value: value,
            kind: .json,
            version: 0,
            expiresAt: head.expiresAt,
            staleTTL: head.staleTTL,
            tags: head.tags
        )
        patch.apply(to: &entry, policy, moment)
        let merged = Merged(written: Written(entry.expiresAt, at: moment, isNew: false))
        return .change(EntryChange(.merge, .put(entry, large), base: .version(base)), merged)
    }
}

private struct Merged: ChangeAnswer {
    /// `nil` where something else stands there by now.
    var written: Written?

    var version: Version {
        get { written?.version ?? 0 }
        set { written?.version = newValue }
    }
}

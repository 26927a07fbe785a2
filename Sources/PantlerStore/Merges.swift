import PantlerInsight
import PantlerJSON
import PantlerMemory
import PantlerModel

/// Merges into JSON values (RFC 7396).
///
/// They take as long as target and patch are, so that they are made outside of the shard's lock, long ones outside of the event loops, and
/// stored if nobody has written meanwhile.
final class Merges: Sendable {
    private let writes: EntryWrites
    let pool = WorkerPool("merges", width: 2)

    init(_ writes: EntryWrites) { self.writes = writes }

    /// Bytes of target and patch together up to which a merge is made where it is asked for.
    private static let shortMerge = 64 << 10
    /// Tries after which a merge takes the key's writes to itself: others wait then for as long as one merge takes, in their order,
    /// and it ends however often the key is written.
    private static let freeTries = 3

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

    /// Goes on once the merge has the key's writes to itself.
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

/// What a merge begins with.
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

/// Takes the value that is merged into: a small one is copied, and a large one taken hold of.
private struct MergeTargetStep: EntryStep {
    static let looksAtValue = true

    let condition: Condition

    func decide(_ standing: Standing, _: Policy, _: Moment) throws(Problem) -> Decision<MergeTarget> {
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

/// Stores a merged value where that still stands into which it was merged.
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
        // Another write came between, or nothing is there any more: the next try finds out.
        guard standing.version == base, let head = standing.head else { return .nothing(Merged(written: nil)) }
        // The policy may have changed since the merge was measured.
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

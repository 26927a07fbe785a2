internal import Synchronization

/// Puts all of a load's keys, so that what is measured finds them.
struct LoadFill: Sendable {
    let wire: LoadWire
    /// The namespace's.
    let path: String

    private static let entriesPerRequest = 500
    private static let bytesPerRequest = 4 << 20

    /// - Throws: the service's reason, where it refuses an entry.
    func run(_ client: Client) async throws(CommandFailure) {
        let count = max(1, min(Self.entriesPerRequest, Self.bytesPerRequest / (wire.size + 32)))
        let done = Counter()
        let ticking = Task { await ProgressBar(total: Int(wire.keys)).follow { done.value.load(ordering: .relaxed) } }
        let result: Result<Void, CommandFailure>
        do throws(CommandFailure) {
            for start in stride(from: 0, to: wire.keys, by: count) {
                let end = min(wire.keys, start + UInt32(count))
                try Self.check(try await client.expect(.post, "\(path)/batch/set", json: wire.fill(start..<end)))
                done.value.store(Int(end), ordering: .relaxed)
            }
            result = .success(())
        } catch {
            result = .failure(error)
        }
        ticking.cancel()
        await ticking.value
        try result.get()
    }

    /// Each entry of a batch stands alone, and fails alone.
    private static func check(_ reply: Reply) throws(CommandFailure) {
        guard let error = try reply.tree()["errors"]?.elements.first else { return }
        let code = error["code"]?.text ?? "unknown"
        throw CommandFailure(
            .failed,
            code: code,
            "The entry \(error["key"]?.text ?? "") cannot be put: \(code)."
        )
    }

    private final class Counter: Sendable {
        let value = Atomic(0)
    }
}

internal import PantlerJSON

/// What the service answers to who asks for an entry or its lease.
enum LeaseAnswer: Hashable, Sendable {
    /// It is there. Stale, it is being refreshed by somebody else.
    case entry(EntryValue, isStale: Bool)
    /// A negative entry: the source has nothing under the key.
    case absent
    /// The caller is to fill it. What is stale by now may still be there.
    case lease(token: String, stale: EntryValue?)
    case held(Held)

    /// Why there is neither an entry nor a lease.
    struct Held: Hashable, Sendable {
        enum Reason: String, Sendable {
            /// Somebody else fills, and has not come to an end.
            case filling
            /// The source has failed, and is left alone for a while.
            case failed
            /// There is no room for one more to wait.
            case crowded
        }

        let reason: Reason
        let retryMilliseconds: Int64
        let failure: CommandFailure
    }

    /// - Throws: a failure where it is none of these.
    init(_ reply: Reply) throws(CommandFailure) {
        do {
            switch reply.status {
            case 200: self = try Self.found(reply)
            case 201: self = try Self.lease(reply.body)
            case 409: self = try .held(Self.held(reply))
            default: throw CommandFailure(reply)
            }
        } catch let failure as CommandFailure {
            throw failure
        } catch {
            throw .unreadableAnswer(error)
        }
    }

    private static func found(_ reply: Reply) throws -> LeaseAnswer {
        let value = try reply.body.withUnsafeBytes { try EntryValue.read($0) }
        guard let value else { return .absent }
        return .entry(value, isStale: CacheStatus.detail(reply.cacheStatus) == "stale")
    }

    private static func lease(_ body: [UInt8]) throws -> LeaseAnswer {
        try body.withUnsafeBytes { bytes in
            var token: String?
            var stale: EntryValue?
            var members = try JSONObjectReader(bytes, maxDepth: EntryValue.maxDepth)
            while let member = try members.next() {
                if member.name.says("lease") {
                    token = try JSONTree(Array(member.value.bytes))["token"]?.text
                } else if member.name.says("stale_entry") {
                    stale = try EntryValue.read(member.value.bytes)
                }
            }
            guard let token else { throw JSONError.syntax(offset: bytes.count, expected: "a lease with its token") }
            return .lease(token: token, stale: stale)
        }
    }

    private static func held(_ reply: Reply) throws -> Held {
        let problem = try reply.tree()
        guard let reason = problem["reason"]?.text.flatMap(Held.Reason.init) else { throw CommandFailure(reply) }
        let seconds = max(0, min(problem["retry_after"]?.double ?? 1, 86_400))
        return Held(reason: reason, retryMilliseconds: Int64(seconds * 1000), failure: CommandFailure(reply))
    }
}

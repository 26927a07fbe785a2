internal import PantlerJSON

/// The calls about the lease of one key.
struct LeaseCalls: Sendable {
    let client: Client
    let namespace: NamespaceOption
    let key: String

    /// The longest that the service waits with an answer.
    static let maxWaitMilliseconds: Int64 = 30_000
    /// How long to wait for the answer to a lease that is given up: what is not heard of by then runs out by itself.
    private static let releaseMilliseconds: Int64 = 2000

    /// What came of asking.
    enum Asked: Hashable, Sendable {
        case answer(LeaseAnswer)
        /// There was no answer, or one that says that the service cannot answer now.
        case away(CommandFailure)
        /// The service does not take the question.
        case refused(CommandFailure)
    }

    func ask(leaseMilliseconds: Int64, waitMilliseconds: Int64) async -> Asked {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("ttl")
        writer.seconds(.number(leaseMilliseconds))
        writer.member("wait")
        writer.seconds(.number(waitMilliseconds))
        writer.endObject()
        let reply: Reply
        do {
            reply = try await client.send(
                .post,
                namespace.lease(key),
                json: writer.bytes,
                within: client.timeoutMilliseconds + waitMilliseconds
            )
        } catch {
            return .away(error)
        }
        do {
            return .answer(try LeaseAnswer(reply))
        } catch {
            return Self.isAway(reply, error) ? .away(error) : .refused(error)
        }
    }

    /// Whether an answer says that the service cannot answer now, or comes from something else that stands in its place, as a proxy's page.
    private static func isAway(_ reply: Reply, _ failure: CommandFailure) -> Bool {
        reply.status >= 500 || reply.status == 429 || failure.code == CommandFailure.answerInvalid
    }

    /// What came of a call with a lease.
    enum Done: Hashable, Sendable {
        case done
        /// It was no lease any more.
        case lost(CommandFailure)
        /// The service refuses the call for another reason; the lease is still one.
        case refused(CommandFailure)
        case away(CommandFailure)
    }

    func prolong(_ token: String, leaseMilliseconds: Int64) async -> Done {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("ttl")
        writer.seconds(.number(leaseMilliseconds))
        writer.endObject()
        return await call(.patch, namespace.lease(key), token, json: writer.bytes)
    }

    /// - Parameter envelope: the entry.
    func fill(_ token: String, envelope: [UInt8]) async -> Done {
        await call(.put, namespace.entry(key), token, json: envelope)
    }

    /// - Parameter retryMilliseconds: how long nobody is to get the lease, where the source has failed.
    func release(_ token: String, retryMilliseconds: Int64?) async {
        let retry = retryMilliseconds.map { "&retry_after=\(JSON.seconds(milliseconds: $0))" } ?? ""
        _ = await call(.delete, namespace.lease(key) + retry, token, within: Self.releaseMilliseconds)
    }

    private func call(
        _ verb: Client.Verb,
        _ path: String,
        _ token: String,
        json: [UInt8]? = nil,
        within milliseconds: Int64? = nil
    ) async -> Done {
        do {
            let reply = try await client.send(
                verb,
                path,
                headers: [("Lease", token)],
                json: json,
                within: milliseconds.map { min($0, client.timeoutMilliseconds) }
            )
            if (200..<300).contains(reply.status) { return .done }
            let failure = CommandFailure(reply)
            return failure.code == "lease_lost" ? .lost(failure) : .refused(failure)
        } catch {
            return .away(error)
        }
    }
}

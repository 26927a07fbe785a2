internal import NIOCore
internal import NIOHTTP1
import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore

// Leases: the entry of a key, or the right to fill it.

/// What the body of a lease's POST or PATCH may hold.
private enum LeaseMember: String, CaseIterable, Sendable {
    case ttl, wait
}

extension LeaseAsk {
    private static let shortestTTL = 0.1
    private static let longestTTL: Int64 = 300_000
    private static let longestWait: Int64 = 30_000

    /// - Parameter body: may be empty, which means `{}`.
    /// - Throws: what is wrong with the body.
    init(_ body: UnsafeRawBufferPointer) throws(Problem) {
        self.init()
        if JSON.trimmed(body).isEmpty { return }
        let members = try Members<LeaseMember>(body, allowed: LeaseMember.allCases)
        try members.checkUnknown()
        try self.init(ttl: members[.ttl], wait: members[.wait])
    }

    init(ttl: JSONElement?, wait: JSONElement?) throws(Problem) {
        self.init()
        if let ttl { self.ttl = try Self.ttl(ttl) }
        if let wait {
            let read = wait.type == .number ? Seconds.milliseconds(wait.bytes, atLeast: 0) : nil
            guard let read, read <= Self.longestWait else {
                throw Problem(.memberInvalid, "'wait' takes seconds, from 0 to 30.")
            }
            self.wait = read
        }
    }

    private static func ttl(_ element: JSONElement) throws(Problem) -> Int64 {
        let read = element.type == .number ? Seconds.milliseconds(element.bytes, atLeast: shortestTTL) : nil
        guard let read, read <= longestTTL else {
            throw Problem(.ttlInvalid, "The 'ttl' of a lease takes seconds, from 0.1 to 300.")
        }
        return read
    }

    /// The TTL that a lease is prolonged by, in milliseconds; see `init(_:)`.
    fileprivate static func prolongation(_ body: UnsafeRawBufferPointer) throws(Problem) -> Int64 {
        if JSON.trimmed(body).isEmpty { return LeaseAsk().ttl }
        let members = try Members<LeaseMember>(body, allowed: [.ttl])
        try members.checkUnknown()
        return try members[.ttl].map { element throws(Problem) in try ttl(element) } ?? LeaseAsk().ttl
    }
}

extension Router {
    func answerLease(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        switch call.method {
        case .patch: try prolongLease(call, request, exchange)
        case .delete: try releaseLease(call, exchange)
        case .post, .get, .head, .put, .options, .other: try takeLease(call, request, exchange)
        }
    }

    private func takeLease(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let peeks = try call.query.peek()
        let ask = try request.body.withBytes { body throws(Problem) in
            var ask = try LeaseAsk(body)
            ask.countsGet = !peeks
            return ask
        }
        let namespace = try namespaceForWriting(call) { _ in }
        let address = store.address(namespace, call.key)
        exchange.onLoop { [self] in
            exchange.lease(namespace, address, ask) { answer in
                switch answer {
                case .stored(let answer): self.answer(answer, namespace, address, exchange)
                case .refused: exchange.respond(Response(problem: .noRoom, operation: .lease))
                }
            }
        }
    }

    /// Answers on the loop. A lease of whose caller nothing is left is taken back.
    private func answer(_ answer: LeaseAnswer, _ namespace: Namespace, _ address: EntryAddress, _ exchange: Exchange) {
        let now = store.moment().now
        switch answer {
        case .hit(let hit), .absent(let hit):
            var answer: EntryAnswer?
            hit.withFound(address) {
                answer = EntryAnswer($0, .entry, at: now, on: exchange, operation: .lease)
            }
            if let answer { exchange.respond(answer) }
        case .given(let lease, let reason):
            guard exchange.isAwaited else { return takeBack(lease, namespace, address) }
            let answer = GivenAnswer(lease, status: MissAnswer.cacheStatus(reason))
            exchange.respond(answer.head, with: answer.body(flight))
        case .refresh(let lease, let hit):
            guard exchange.isAwaited else { return takeBack(lease, namespace, address) }
            var answer: GivenAnswer?
            hit.withFound(address) { answer = GivenAnswer(lease, $0, at: now) }
            if let answer { exchange.respond(answer.head, with: answer.body(flight)) }
        case .refused(let refusal):
            exchange.respond(Response(problem: .leaseHeld(refusal), operation: .lease))
        case .failed(let problem):
            exchange.respond(Response(problem: problem, operation: .lease))
        case .larger:
            // The exchange asks again once there is room, and so answers this itself.
            break
        }
    }

    private func takeBack(_ lease: Lease, _ namespace: Namespace, _ address: EntryAddress) {
        // The lease may be lost already, which is just as well.
        try? store.release(namespace, address, lease.token, pause: nil)
    }

    private func prolongLease(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let ttl = try request.body.withBytes { body throws(Problem) in try LeaseAsk.prolongation(body) }
        let (namespace, address, token) = try heldLease(call)
        let lease = try store.prolong(namespace, address, token, ttl: ttl)
        var body = JSONWriter(capacity: 96)
        body.beginObject()
        body.lease(lease)
        body.endObject()
        exchange.respond(Response(200, body, headers: Response.notStored, operation: .lease))
    }

    private func releaseLease(_ call: Call, _ exchange: Exchange) throws(Problem) {
        let pause = try call.query.retryAfter()
        let (namespace, address, token) = try heldLease(call)
        try store.release(namespace, address, token, pause: pause)
        exchange.respond(Response(status: 204, operation: .lease))
    }

    private func heldLease(_ call: Call) throws(Problem) -> (Namespace, EntryAddress, LeaseToken) {
        guard let token = call.lease, let namespace = store.namespace(call.namespace) else { throw .leaseLost }
        return (namespace, store.address(namespace, call.key), token)
    }

    /// Lists leases. There may be many to look through, so that this runs off the loop.
    func listLeases(_ call: Call, _ exchange: Exchange) throws(Problem) {
        let limit = try call.query.limit()
        let prefix = try call.query.prefix()
        guard let namespace = store.namespace(call.namespace) else { throw .namespaceNotFound(call.namespace) }
        let (leases, count) = store.leases(namespace, prefix: prefix, limit: limit)
        var body = JSONWriter(capacity: 64 + leases.count * 160)
        body.beginObject()
        body.member("leases")
        body.beginArray()
        for lease in leases {
            body.beginObject()
            body.member("key")
            body.string(lease.key)
            body.member("token")
            // Enough to tell leases apart, and nothing that anyone could use.
            body.string(lease.token.text.prefix(4) + "…")
            body.member("since")
            body.moment(lease.since)
            body.member("expires_at")
            body.moment(lease.expiresAt)
            body.member("waiters")
            body.integer(lease.waiters)
            body.member("stale")
            body.bool(lease.hasEntry)
            body.endObject()
        }
        body.endArray()
        body.member("count")
        body.integer(count)
        body.endObject()
        exchange.respond(Response(200, body, headers: Response.notStored, operation: .lease))
    }
}

/// The answer to a caller who is given a lease: `{"lease":{"token","expires_at"},"stale_entry"?,"fresh"?}`.
struct GivenAnswer {
    let head: Response
    private var text: ByteBuffer
    private var gap: ValueGap?

    /// - Parameter status: the value of Cache-Status.
    init(_ lease: Lease, status: String) {
        head = Self.head(status)
        var text = JSONWriter(capacity: 96)
        text.beginObject()
        text.lease(lease)
        text.endObject()
        self.text = ByteBuffer(bytes: text.bytes)
    }

    /// - Parameter found: the entry to show meanwhile.
    init(_ lease: Lease, _ found: Found, at now: Timestamp) {
        let isFresh = found.staleSince == nil
        head = Self.head(EntryAnswer.cacheStatus(ofRefreshed: found, at: now))
        var text = JSONWriter(capacity: 96)
        text.beginObject()
        text.lease(lease)
        text.member("stale_entry")
        var buffer = ByteBuffer(bytes: text.bytes)
        gap = EntryObject(found).append(found, to: &buffer)
        // The comma behind the entry.
        buffer.moveWriterIndex(to: buffer.writerIndex - 1)
        buffer.writeStaticString(isFresh ? ",\"fresh\":true}" : "}")
        self.text = buffer
    }

    /// The body, with a large value in its place. Not to be called under a lock.
    func body(_ flight: Flight) -> WireAnswer {
        var body = WireAnswer(text)
        if let gap { body.add(gap.value(flight), at: gap.offset) }
        return body
    }

    /// Appends the answer. Returns its status, and the place of a large value.
    func write(_ frame: AnswerFrame, to output: inout ByteBuffer) -> (status: Int, gap: ValueGap?) {
        let valueCount = gap?.count ?? 0
        head.writeHead(frame, bodyCount: text.readableBytes + valueCount, to: &output)
        var gap = gap
        gap?.offset += output.writerIndex
        output.writeImmutableBuffer(text)
        return (head.status, gap)
    }

    private static func head(_ status: String) -> Response {
        Response(
            status: 201,
            contentType: MediaType.json,
            headers: Response.notStored + [("Cache-Status", status)],
            operation: .lease
        )
    }
}

extension JSONWriter {
    /// The member `lease`.
    fileprivate mutating func lease(_ lease: Lease) {
        member("lease")
        beginObject()
        leaseMembers(lease)
        endObject()
    }

    /// The members that tell a holder of a lease.
    mutating func leaseMembers(_ lease: Lease) {
        member("token")
        string(lease.token.text)
        member("expires_at")
        moment(lease.expiresAt)
    }
}

extension Problem {
    static func leaseHeld(_ refusal: LeaseRefusal) -> Problem {
        let why =
            switch refusal.reason {
            case .filling: "Somebody else is filling the key."
            case .failed: "The last load of the key failed, and the source is left alone for a while."
            case .crowded: "Somebody else is filling the key, and no more callers can wait (limits.waiters)."
            }
        return Problem(
            .leaseHeld,
            why,
            extra: .retry(reason: refusal.reason.rawValue, milliseconds: refusal.retryAfter)
        )
    }
}

extension Query {
    /// For how long nobody is to be given a key's lease, in milliseconds; `nil` where the query does not say. Throws `query_invalid`.
    fileprivate func retryAfter() throws(Problem) -> Int64? {
        guard let text = self[.retryAfter] else { return nil }
        let read = text.withUnsafeBytes { Seconds.milliseconds($0, atLeast: 0.1) }
        guard let read, read <= 60_000 else {
            let shown = Problem.quoted(String(decoding: text.prefix(400), as: UTF8.self))
            throw Problem(.queryInvalid, "'retry_after' is \(shown); it takes seconds, from 0.1 to 60.")
        }
        return read
    }
}

/// The field `Lease`, which holds a lease's token.
enum LeaseField {
    static let name = "Lease"

    /// The lease that a call is made under; `nil` where the field is not there.
    ///
    /// - Throws: `header_invalid`; `lease_lost` for what is no token of any lease.
    static func read(_ headers: HTTPHeaders) throws(Problem) -> LeaseToken? {
        let lines = headers[name]
        guard let line = lines.first else { return nil }
        let text = trimmed(line)
        guard lines.count == 1, !text.isEmpty else {
            throw Problem(.headerInvalid, "Lease takes the token of one lease.")
        }
        guard let token = LeaseToken(text.utf8) else { throw .leaseLost }
        return token
    }
}

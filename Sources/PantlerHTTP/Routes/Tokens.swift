internal import NIOCore
import PantlerInsight
import PantlerJSON
import PantlerModel
import PantlerStore

// Tokens: who may call. A token's secret stands in the answer that makes it, and in no other.

/// What the body of a new token says.
struct TokenOrder: Sendable {
    private enum Member: String, CaseIterable, Sendable {
        case role, namespaces, note, ttl
        case expiresAt = "expires_at"
    }

    let grant: Grant
    let note: String
    /// By the wall clock, in milliseconds since 1970; `nil` = never.
    let expiresAt: Int64?

    /// - Throws: what is wrong with the body.
    init(_ body: UnsafeRawBufferPointer, now: WallTime) throws(Problem) {
        let members = try Members(body, allowed: Member.allCases)
        try members.checkUnknown()
        guard let role = members[.role] else {
            throw Problem(.missingMember, "'role' is needed: \(Self.roles).")
        }
        guard let role = role.text.flatMap({ Role(rawValue: $0) }) else {
            throw Problem(.memberInvalid, "'role' takes \(Self.roles).")
        }
        let namespaces = try members[.namespaces].map { element throws(Problem) in try Self.namespaces(element) }
        grant = Grant(role: role, namespaces: namespaces ?? [.everything])
        note = try members[.note].map { element throws(Problem) in try Self.note(element) } ?? ""
        expiresAt = try Self.expiry(members[.ttl].unlessNull, members[.expiresAt].unlessNull, now)
    }

    private static let roles = Role.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")

    private static func namespaces(_ element: JSONElement) throws(Problem) -> [NamespacePattern] {
        let problem = Problem(
            .memberInvalid,
            "'namespaces' takes an array of 1 to \(Grant.namespaceLimit) strings: \"*\" for all, a name, or the beginning of names with a '*' behind."
        )
        guard element.type == .array else { throw problem }
        var patterns: [NamespacePattern] = []
        do {
            var reader = try JSONArrayReader(element.bytes, maxDepth: Limits.jsonDepth)
            while let item = try reader.next() {
                guard patterns.count < Grant.namespaceLimit, let pattern = item.text.flatMap({ NamespacePattern($0) })
                else { throw problem }
                patterns.append(pattern)
            }
        } catch {
            throw problem
        }
        if patterns.isEmpty { throw problem }
        return patterns
    }

    private static func note(_ element: JSONElement) throws(Problem) -> String {
        guard let note = element.text, TokenRecord.isNote(note) else {
            throw Problem(
                .memberInvalid,
                "'note' takes a string of at most \(TokenRecord.noteBytes) bytes without control characters."
            )
        }
        return note
    }

    private static func expiry(
        _ ttl: JSONElement?,
        _ expiresAt: JSONElement?,
        _ now: WallTime
    ) throws(Problem) -> Int64? {
        switch (ttl, expiresAt) {
        case (nil, nil): return nil
        case (.some, .some): throw Problem(.ttlConflict, "A token takes 'ttl' or 'expires_at', not both.")
        case (.some(let ttl), nil): return now.milliseconds + (try Seconds.ttl(ttl.bytes))
        case (nil, .some(let moment)):
            guard moment.type == .string, let text = try? JSON.stringBytes(moment.bytes) else {
                throw Problem(.expiresAtInvalid, "'expires_at' takes a string (RFC 3339), or null for never.")
            }
            return try Expiry.read(text, now: now).milliseconds
        }
    }
}

/// What the body of a rotation says: how long the former secret is good.
enum RotationOrder {
    private enum Member: String, CaseIterable, Sendable {
        case grace
    }

    private static let longestGrace: Int64 = 30 * 86_400_000

    /// Milliseconds.
    ///
    /// - Parameter body: may be empty, which means `{}`.
    /// - Throws: what is wrong with the body.
    static func grace(_ body: UnsafeRawBufferPointer) throws(Problem) -> Int64 {
        if JSON.trimmed(body).isEmpty { return 0 }
        let members = try Members(body, allowed: Member.allCases)
        try members.checkUnknown()
        guard let element = members[.grace] else { return 0 }
        let grace = element.type == .number ? Seconds.milliseconds(element.bytes, atLeast: 0) : nil
        guard let grace, grace <= longestGrace else {
            throw Problem(.memberInvalid, "'grace' takes seconds, from 0 to \(longestGrace / 1000).")
        }
        return grace
    }
}

extension Router {
    /// The answer to a caller that asks who it is.
    func ownToken(_ caller: Caller) throws(Problem) -> Response {
        var body = JSONWriter(capacity: 256)
        switch caller {
        case .anybody: body.token(granting: Grant(role: .admin), source: "listener")
        case .certificate(let grant): body.token(granting: grant, source: "certificate")
        case .token(let pass):
            // It may have been revoked just now.
            guard let record = store.tokens.record(pass.id) else { throw .tokenInvalid }
            body.token(record)
        }
        return Response(200, body, headers: Response.notStored, operation: .token)
    }

    func answerTokens(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        if call.method == .post { return try makeToken(request, exchange) }
        var body = JSONWriter(capacity: 1024)
        body.beginObject()
        body.member("tokens")
        body.beginArray()
        for record in store.tokens.list() { body.token(record) }
        body.endArray()
        body.endObject()
        exchange.respond(Response(200, body, headers: Response.notStored, operation: .token))
    }

    private func makeToken(_ request: Request, _ exchange: Exchange) throws(Problem) {
        let now = store.moment().wall
        let order = try request.body.withBytes { body throws(Problem) in try TokenOrder(body, now: now) }
        store.tokens.create(
            order.grant,
            note: order.note,
            expiresAt: order.expiresAt,
            nowMilliseconds: now.milliseconds
        ) { result in
            exchange.respondFromAnywhere {
                let response = Response(201, result)
                return response.auditing(.tokenMade, subject: try? "\(result.get().record.id)")
            }
        }
    }

    func answerToken(_ call: Call, _ exchange: Exchange) throws(Problem) {
        guard let id = call.token else { throw .noSuchToken }
        if call.method == .delete { return revokeToken(id, exchange) }
        guard let record = store.tokens.record(id) else { throw .noSuchToken }
        var body = JSONWriter(capacity: 256)
        body.token(record)
        exchange.respond(Response(200, body, headers: Response.notStored, operation: .token))
    }

    private func revokeToken(_ id: TokenID, _ exchange: Exchange) {
        store.tokens.revoke(id) { [self] result in
            noteTokenChange()
            exchange.respondFromAnywhere {
                switch result {
                case .success(true):
                    Response(status: 204, operation: .token).auditing(.tokenRevoked, subject: "\(id)")
                case .success(false): Response(problem: .noSuchToken, operation: .token)
                case .failure(let problem):
                    Response(problem: problem, operation: .token).auditing(.tokenRevoked, subject: "\(id)")
                }
            }
        }
    }

    func rotateToken(_ call: Call, _ request: Request, _ exchange: Exchange) throws(Problem) {
        let grace = try request.body.withBytes { body throws(Problem) in try RotationOrder.grace(body) }
        guard let id = call.token else { throw .noSuchToken }
        store.tokens.rotate(
            id,
            graceMilliseconds: grace,
            nowMilliseconds: store.moment().wall.milliseconds
        ) { [self] result in
            noteTokenChange()
            exchange.respondFromAnywhere {
                if case .failure(let problem) = result, problem.code == .tokenNotFound {
                    return Response(problem: .noSuchToken, operation: .token)
                }
                return Response(200, result).auditing(.tokenRotated, subject: "\(id)")
            }
        }
    }
}

extension Problem {
    /// The same for an id that is none as for one that nobody has.
    fileprivate static let noSuchToken = Problem(.tokenNotFound, "There is no token of this id.")
}

extension Response {
    /// The one answer in which a secret stands.
    fileprivate init(_ status: Int, _ result: Result<IssuedToken, Problem>) {
        switch result {
        case .failure(let problem): self.init(problem: problem, operation: .token)
        case .success(let issued):
            var body = JSONWriter(capacity: 256)
            body.token(issued.record, secret: issued.secretText)
            self.init(status, body, headers: Self.notStored, operation: .token)
        }
    }
}

extension JSONElement {
    /// The text of a string; `nil` for anything else.
    fileprivate var text: String? { type == .string ? try? JSON.string(bytes) : nil }
}

extension JSONWriter {
    /// Writes a token as it is kept, and its secret where that is told.
    fileprivate mutating func token(_ record: TokenRecord, secret: String? = nil) {
        token(
            id: record.id,
            record.grant,
            note: record.note,
            createdAt: record.createdAt,
            expiresAt: record.expiresAt,
            lastUsedDay: record.lastUsedDay,
            source: record.source.rawValue,
            secret: secret
        )
    }

    /// Writes what stands in the place of a token where a caller needs none.
    fileprivate mutating func token(granting grant: Grant, source: String) { token(id: nil, grant, source: source) }

    private mutating func token(
        id: TokenID?,
        _ grant: Grant,
        note: String = "",
        createdAt: Int64? = nil,
        expiresAt: Int64? = nil,
        lastUsedDay: Int32? = nil,
        source: String,
        secret: String? = nil
    ) {
        beginObject()
        member("id")
        if let id { string("\(id)") } else { null() }
        member("role")
        string(grant.role.rawValue)
        member("namespaces")
        beginArray()
        for pattern in grant.namespaces { string("\(pattern)") }
        endArray()
        member("note")
        string(note)
        member("created_at")
        optionalMoment(createdAt)
        member("expires_at")
        optionalMoment(expiresAt)
        member("last_used")
        if let lastUsedDay {
            let start = WallTime(milliseconds: Int64(lastUsedDay) * 86_400_000)
            string(String(RFC3339.string(start).prefix(10)))
        } else {
            null()
        }
        member("source")
        string(source)
        if let secret {
            member("token")
            string(secret)
        }
        endObject()
    }

    private mutating func optionalMoment(_ milliseconds: Int64?) {
        moment(milliseconds.map { WallTime(milliseconds: $0) } ?? .never)
    }
}

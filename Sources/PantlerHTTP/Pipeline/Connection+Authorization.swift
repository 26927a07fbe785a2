internal import NIOCore
internal import NIOHTTP1
import PantlerInsight
import PantlerModel
internal import PantlerSockets
import PantlerStore

// Who calls, and whether it may.
extension Connection {
    // MARK: Plain requests

    /// Whether a plain request may be made. What may not is left to the slow lane, which tells why.
    ///
    /// - Parameter door: this connection's.
    @inline(__always)
    func allows(_ request: FastLane.FastRequest, _ role: LaneRole, _ door: Door) -> Bool {
        door.needsToken ? allowsToken(request, role) : true
    }

    private func allowsToken(_ request: FastLane.FastRequest, _ role: LaneRole) -> Bool {
        guard !request.authorization.isEmpty else {
            return certificatePass?.allows(role == .read ? .read : .write, request.namespace) ?? false
        }
        guard let token = token(request.authorization, at: moment.wall.milliseconds),
            token.allows(role, request.namespace)
        else { return false }
        return loop.limits.requestsPerToken == 0 || takeRequest(token.pass) == 0
    }

    /// The token that Authorization's value presents, which is the last one's mostly; `nil` where it is worth nothing.
    private func token(_ value: UnsafeRawBufferPointer, at wall: Int64) -> KnownToken? {
        let tokens = loop.store.tokens
        if let knownToken, knownToken.isPresented(by: value), knownToken.holds(tokens.generation, at: wall) {
            return knownToken
        }
        guard let found = KnownToken(value, tokens, at: wall) else { return nil }
        knownToken = found
        return found
    }

    /// Counts a request of a token, once. Returns 0, or after how many microseconds it may be made.
    private func takeRequest(_ pass: TokenPass) -> UInt64 {
        if isRequestCounted {
            isRequestCounted = false
            return 0
        }
        return pass.rate.take(at: moment.access)
    }

    /// The name of a plain request's caller, for the log.
    func callerName(_ request: FastLane.FastRequest) -> String? {
        guard door.needsToken else { return nil }
        return request.authorization.isEmpty ? Caller.certificateName : knownToken.map { "\($0.pass.id)" }
    }

    // MARK: Other requests

    /// Who makes a request, whose host and origin have been judged.
    ///
    /// - Throws: `token_required`, `token_invalid`.
    func caller(of head: RequestHead) throws(Problem) -> Caller {
        let door = door
        guard door.needsToken else { return .anybody }
        if loop.router.need(head.method, head.target, opensMetrics: door.opensMetrics) == .nothing { return .anybody }
        let fields = head.headers["authorization"]
        guard let field = fields.first else {
            guard let certificatePass else { throw .tokenRequired }
            return .certificate(certificatePass)
        }
        // Which of two counts is nobody's to guess.
        guard fields.count == 1 else { throw .tokenInvalid }
        var value = String(trimmed(field))
        let (found, isBearer) = value.withUTF8 { value in
            let value = UnsafeRawBufferPointer(value)
            return (token(value, at: moment.wall.milliseconds), Authorization.bearer(value) != nil)
        }
        guard let found else { throw isBearer ? .tokenInvalid : .tokenRequired }
        return .token(found.pass)
    }

    /// Counts a request of a caller. Throws `rate_limited`.
    func count(_ caller: Caller) throws(Problem) {
        guard loop.limits.requestsPerToken > 0, case .token(let pass) = caller else { return }
        let microseconds = takeRequest(pass)
        if microseconds > 0 { throw .rateLimited(afterSeconds: Int64(clamping: (microseconds + 999_999) / 1_000_000)) }
    }

    // MARK: Tokens that end

    /// Judges once more who makes a request whose body is whole by now: a body may take its time, and the token may have ended meanwhile.
    ///
    /// - Throws: `token_invalid`, `forbidden`.
    func checkCaller(of message: IncomingMessage) throws(Problem) {
        guard case .token(let pass) = message.caller else { return }
        guard let present = present(pass) else { throw .tokenInvalid }
        knownToken = present
        guard let call = message.call else { return }
        let need = call.resource.need(call.method)
        guard Caller.token(present.pass).meets(need, in: call.namespace) else { throw .forbidden(need) }
    }

    /// The token that a call was begun by, which is the last that this connection has begun, as it is by now; `nil` where it is good for
    /// nothing any more.
    private func present(_ pass: TokenPass) -> KnownToken? {
        guard let knownToken, knownToken.pass.id == pass.id else { return nil }
        let wall = loop.store.moment().wall.milliseconds
        return knownToken.holds(loop.store.tokens.generation, at: wall)
            ? knownToken : knownToken.renewed(loop.store.tokens, at: wall)
    }

    /// Whether a token still allows what it allowed when a call was begun by it.
    func stillAllows(_ pass: TokenPass, _ role: LaneRole, _ namespace: UnsafeRawBufferPointer) -> Bool {
        present(pass)?.allows(role, namespace) ?? false
    }

    func stillAllows(_ pass: TokenPass, _ namespace: Namespace) -> Bool {
        var name = namespace.name.description
        return name.withUTF8 { stillAllows(pass, .write, UnsafeRawBufferPointer($0)) }
    }

    /// Counts and writes down that a wait has ended with its caller's token.
    func noteLostWait(_ operation: Operation, _ namespace: Namespace, _ caller: Caller?) {
        noteRefusal(.tokenInvalid, .post, operation, namespace.name.description, by: caller)
    }

    /// Ends what waits under a token that is good for nothing any more. To be called after changes of tokens.
    func endWaitsOfLostTokens() {
        guard !leases.isEmpty || onCancel != nil, let knownToken else { return }
        let wall = loop.store.moment().wall.milliseconds
        guard !knownToken.holds(loop.store.tokens.generation, at: wall),
            knownToken.renewed(loop.store.tokens, at: wall)?.pass.grant != knownToken.pass.grant
        else { return }
        cancel(state.tokenEnded())
        endLeases(.tokenEnded)
        if !state.isInBurst { settle() }
    }
}

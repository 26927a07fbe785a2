import NIOCore

/// How far the handshake of one connection has come, as a value: it takes events and answers with what is to be done. It has neither
/// channel nor clock, and only counts bytes.
///
/// A client's first message is waited for without anything made for it, and then for a place among those under way (`Handshakes`). From there
/// on each step, which may be a signature, waits for its turn among those of the loop (`HandshakeTurns`).
struct HandshakeState: Equatable {
    enum Phase: Equatable {
        /// The client's first message is not whole.
        case hello
        /// It is, and waits for a place.
        case queued
        /// Bytes wait for their turn.
        case ready
        /// The client is to answer, since then.
        case awaitsClient(since: NIODeadline)
        /// The connection speaks TLS.
        case done
        /// The client has been told why it will not, and what it still sends is thrown away until it leaves, so that it gets to read that.
        case dismissed(since: NIODeadline)
        case over
    }

    private(set) var phase = Phase.hello
    /// When the whole of it has to be over.
    let deadline: NIODeadline

    /// How long a client may take for an answer while others wait for a place.
    static let patience = TimeAmount.seconds(1)
    /// How often it is looked from then on whether somebody waits.
    static let look = TimeAmount.milliseconds(100)
    /// How long bytes are thrown away after a dismissal.
    static let lingering = TimeAmount.seconds(2)

    init(deadline: NIODeadline) { self.deadline = deadline }

    var isDone: Bool { phase == .done }

    /// Whether it has a place among those under way.
    var hasPlace: Bool {
        switch phase {
        case .ready, .awaitsClient: true
        case .hello, .queued, .done, .dismissed, .over: false
        }
    }

    /// Whether more is to be read. What waits for its turn is enough.
    var reads: Bool {
        switch phase {
        case .hello, .awaitsClient, .done, .dismissed: true
        case .queued, .ready, .over: false
        }
    }

    enum Hello: Equatable {
        case waits
        /// Ask for a place.
        case asks
        /// End the connection, and tell the client why where that is known.
        case dismisses(Dismissal)
    }

    enum Dismissal: Equatable {
        case plainHTTP, otherProtocol, foreign
    }

    /// Notes more of the first message.
    mutating func cameHello(_ verdict: ClientHello.Verdict, at now: NIODeadline) -> Hello {
        guard phase == .hello else { return .waits }
        switch verdict {
        case .incomplete: return .waits
        case .whole:
            phase = .queued
            return .asks
        case .otherProtocol: return dismiss(.otherProtocol, now)
        case .plainHTTP: return dismiss(.plainHTTP, now)
        case .foreign: return dismiss(.foreign, now)
        }
    }

    private mutating func dismiss(_ why: Dismissal, _ now: NIODeadline) -> Hello {
        phase = .dismissed(since: now)
        return .dismisses(why)
    }

    /// Notes that it has a place.
    ///
    /// - Returns: whether it is to wait for a turn; `false` where it is over, and the place is to be given back.
    mutating func placeCame() -> Bool {
        guard phase == .queued else { return false }
        phase = .ready
        return true
    }

    /// Notes that bytes came during the handshake.
    ///
    /// - Returns: whether to wait for a turn; if not, it waits for one already.
    mutating func came() -> Bool {
        guard case .awaitsClient = phase else { return false }
        phase = .ready
        return true
    }

    /// Notes that its turn has come: its bytes may be taken.
    ///
    /// - Returns: `false` where there is nothing to do any more.
    mutating func turnCame(at now: NIODeadline) -> Bool {
        guard phase == .ready else { return false }
        phase = .awaitsClient(since: now)
        return true
    }

    /// Notes that the connection speaks TLS.
    ///
    /// - Returns: `false` where it was over before.
    mutating func completed() -> Bool {
        guard hasPlace else { return false }
        phase = .done
        return true
    }

    enum Ending: Equatable {
        /// The handshake was over before, well or not.
        case none
        /// It ends without success. Its place is free where it had one.
        case failed(hadPlace: Bool, wasQueued: Bool)
    }

    /// Notes that the connection ends, or is to end.
    mutating func end() -> Ending {
        let before = phase
        phase = .over
        switch before {
        case .done, .over, .dismissed: return .none
        case .hello, .queued, .ready, .awaitsClient:
            return .failed(hadPlace: before == .ready || isAwaiting(before), wasQueued: before == .queued)
        }
    }

    private func isAwaiting(_ phase: Phase) -> Bool { if case .awaitsClient = phase { true } else { false } }

    /// When the next look at the time is due; `nil` where none is.
    func due(at now: NIODeadline) -> NIODeadline? {
        switch phase {
        case .done, .over: nil
        case .dismissed(let since): since + Self.lingering
        case .awaitsClient(let since): min(deadline, max(since + Self.patience, now + Self.look))
        case .hello, .queued, .ready: deadline
        }
    }

    /// Whether time is up.
    ///
    /// - Parameter isCrowded: whether others wait for a place.
    func isLate(at now: NIODeadline, isCrowded: Bool) -> Bool {
        switch phase {
        case .done, .over: false
        case .dismissed(let since): now >= since + Self.lingering
        case .awaitsClient(let since): now >= deadline || isCrowded && now >= since + Self.patience
        case .hello, .queued, .ready: now >= deadline
        }
    }
}

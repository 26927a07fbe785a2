internal import Logging
internal import NIOCore
import PantlerInsight
import PantlerModel
import PantlerStore

/// What the connections of one event loop share. It is used on that loop alone, so that nothing here is locked.
final class LoopState {
    let eventLoop: any EventLoop
    /// Runs what is to be done for those whose waits have ended.
    let wakes: LeaseCall.Runner
    let store: Store
    let router: Router
    let flight: Flight
    let tally: RequestTally
    let logger: Logger
    /// The connections of all loops together.
    let openConnections: ConnectionCount
    /// The steps of TLS handshakes, one at a time.
    let handshakeTurns: HandshakeTurns

    private(set) var limits: HTTPLimits
    private(set) var patience: Patience
    /// What each listener asks of its connections.
    private(set) var doors: [Door]
    private(set) var access: AccessOptions
    /// Whether some request is logged.
    private(set) var isLogged: Bool
    /// The access log. It has no level of its own: `access` says what it is given.
    let accessLogger: Logger
    /// The audit log. What is refused has a line only as far as the budget goes.
    var auditLogger: Logger
    private var auditBudget = AuditBudget()
    /// Whether each connection ends with the request that it is at. Once `true`, it stays so.
    private(set) var isDraining = false
    private var connections: [ObjectIdentifier: Connection] = [:]
    /// Succeeds with the end of the last connection of a drain; the value is how many were cut off.
    private var drained: EventLoopPromise<Int>?
    private var cutOff = 0

    init(
        eventLoop: any EventLoop,
        store: Store,
        router: Router,
        tally: RequestTally,
        logger: Logger,
        openConnections: ConnectionCount,
        limits: HTTPLimits,
        doors: [Door],
        access: AccessOptions
    ) {
        self.eventLoop = eventLoop
        handshakeTurns = HandshakeTurns(eventLoop)
        let woken = WokenWork(eventLoop)
        wakes = { woken.add($0) }
        self.store = store
        self.router = router
        flight = router.flight
        self.tally = tally
        self.logger = logger
        self.access = access
        isLogged = access.log != .off
        var accessLogger = Logger(label: "pantler.access")
        accessLogger.logLevel = .trace
        self.accessLogger = accessLogger
        var auditLogger = Logger(label: "pantler.audit")
        auditLogger.logLevel = .trace
        self.auditLogger = auditLogger
        self.openConnections = openConnections
        self.limits = limits
        patience = Patience(limits)
        self.doors = doors
        store.tokens.setRate(perSecond: limits.requestsPerToken)
    }

    deinit { scratch.deallocate() }

    /// Sets other limits, names and wishes for the access log, for what begins from now on.
    func reload(_ limits: HTTPLimits, _ doors: [Door], _ access: AccessOptions) {
        self.access = access
        isLogged = access.log != .off
        self.limits = limits
        patience = Patience(limits)
        self.doors = doors
        store.tokens.setRate(perSecond: limits.requestsPerToken)
    }

    // MARK: Who calls

    /// Takes a line of the audit log for a refusal. Returns how many were left out before it; `nil` where it is left out itself.
    func takeAuditLine() -> Int? { auditBudget.take(at: eventLoop.now) }

    /// Ends the waits of all connections under tokens that are good for nothing any more.
    func endWaitsOfLostTokens() { each(Array(connections.values)[...]) { $0.endWaitsOfLostTokens() } }

    /// Sets what TLS is spoken with, for connections that begin from now on.
    func reload(tls: TLSMaterial) {
        for index in doors.indices where doors[index].speaksTLS { doors[index].tls = tls }
    }

    // MARK: Connections

    func add(_ connection: Connection) { connections[ObjectIdentifier(connection)] = connection }

    /// Returns whether the connection was here.
    func remove(_ connection: Connection) -> Bool {
        guard connections.removeValue(forKey: ObjectIdentifier(connection)) != nil else { return false }
        if isDraining, connections.isEmpty { drained?.succeed(cutOff) }
        return true
    }

    /// Closes idle connections, has the others end with the requests that they are at, and after `timeout` closes what is left. To be
    /// called once.
    ///
    /// - Parameter grace: how long idle connections may still have a request, the last one.
    /// - Returns: how many were cut off, once all are gone.
    func drain(within timeout: TimeAmount, grace: TimeAmount = .zero) -> EventLoopFuture<Int> {
        isDraining = true
        let promise = eventLoop.makePromise(of: Int.self)
        drained = promise
        if grace == .zero {
            each(Array(connections.values)[...]) { $0.drain() }
        } else {
            each(Array(connections.values)[...]) { $0.drain(sparesIdle: true) }
            eventLoop.assumeIsolated().scheduleTask(in: grace) { [self] in
                each(Array(connections.values)[...]) { $0.drain() }
            }
        }
        if connections.isEmpty {
            promise.succeed(0)
        } else {
            let end = eventLoop.assumeIsolated().scheduleTask(in: timeout) { [self] in
                cutOff = connections.count
                each(Array(connections.values)[...]) { $0.close() }
            }
            promise.futureResult.whenComplete { _ in end.cancel() }
        }
        return promise.futureResult
    }

    // MARK: Room

    /// Whether a look at the claims that wait for room is planned.
    private var isTicking = false

    /// Notes that a claim waits for room, and plans looks at all that wait, so that each wait has an end.
    func noteWaiting() {
        if isTicking { return }
        isTicking = true
        eventLoop.assumeIsolated().scheduleTask(in: Flight.tick) { [self] in
            isTicking = false
            if flight.tick(at: eventLoop.now) { noteWaiting() }
        }
    }

    /// Runs `body` for some of the connections, and for the others after what else the loop has to do: there may be thousands.
    private func each(_ connections: ArraySlice<Connection>, _ body: @escaping (Connection) -> Void) {
        for connection in connections.prefix(Self.connectionsAtOnce) { body(connection) }
        let left = connections.dropFirst(Self.connectionsAtOnce)
        if left.isEmpty { return }
        eventLoop.assumeIsolated().execute { [self] in each(left, body) }
    }

    private static let connectionsAtOnce = 64

    // MARK: What a burst needs

    private var gathering: [Connection] = []

    /// Ends a connection's burst after what the loop has to do now.
    func endBurstSoon(of connection: Connection) {
        gathering.append(connection)
        guard gathering.count == 1 else { return }
        eventLoop.assumeIsolated().execute { [self] in
            let ending = gathering
            gathering = []
            for connection in ending { connection.endGatheringBurst() }
        }
    }

    /// The memory into which the fast lane decodes a key.
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: Limits.keyBytes, alignment: 1)
    private var spareOutput = ByteBuffer()
    private var date = HTTPDate.now().date
    private var dateEnds = NIODeadline.uptimeNanoseconds(0)
    private var latestNamespace: (name: [UInt8], namespace: Namespace)?

    /// An empty buffer to gather answers in: the last one that was given back, unless the socket still has it.
    func takeOutput() -> ByteBuffer {
        var output = ByteBuffer()
        swap(&output, &spareOutput)
        output.clear(minimumCapacity: 4096)
        return output
    }

    /// Takes back a buffer for the next burst. One that grew for a large answer is not kept.
    func giveBack(_ output: ByteBuffer) {
        if output.capacity <= 512 << 10 { spareOutput = output }
    }

    /// The present second's date: formatted once a second.
    func date(at now: NIODeadline) -> HTTPDate {
        if now >= dateEnds {
            let (date, lasts) = HTTPDate.now()
            self.date = date
            dateEnds = now + .nanoseconds(lasts)
        }
        return date
    }

    /// The namespace of a name. The last one is remembered, since a loop's requests mostly go to one.
    func namespace(_ name: UnsafeRawBufferPointer) -> Namespace? {
        if let latest = latestNamespace, latest.name.elementsEqual(name), !latest.namespace.isDropped {
            return latest.namespace
        }
        guard let namespace = store.namespace(name) else { return nil }
        latestNamespace = (Array(name), namespace)
        return namespace
    }

    /// The namespace of a name for a write, which makes it where there is none. Throws as `Store.namespaceForWriting`.
    func namespaceForWriting(
        _ name: UnsafeRawBufferPointer,
        check: (Policy) throws(Problem) -> Void
    ) throws(Problem) -> Namespace {
        if let namespace = namespace(name) { return namespace }
        return try store.namespaceForWriting(name, check: check)
    }
}

internal import Logging
internal import NIOCore
import PantlerInsight
import PantlerModel
import PantlerStore
import Synchronization

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

    private(set) var limits: HTTPLimits
    private(set) var patience: Patience
    private(set) var hosts: ServedHosts
    private(set) var access: AccessOptions
    /// Whether some request is logged.
    private(set) var isLogged: Bool
    /// The access log. It has no level of its own: `access` says what it is given.
    let accessLogger: Logger
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
        hosts: ServedHosts,
        access: AccessOptions
    ) {
        self.eventLoop = eventLoop
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
        self.openConnections = openConnections
        self.limits = limits
        patience = Patience(limits)
        self.hosts = hosts
    }

    deinit { scratch.deallocate() }

    /// Sets other limits, names and wishes for the access log, for what begins from now on.
    func reload(_ limits: HTTPLimits, _ hosts: ServedHosts, _ access: AccessOptions) {
        self.access = access
        isLogged = access.log != .off
        self.limits = limits
        patience = Patience(limits)
        self.hosts = hosts
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
    /// - Returns: how many were cut off, once all are gone.
    func drain(within timeout: TimeAmount) -> EventLoopFuture<Int> {
        isDraining = true
        let promise = eventLoop.makePromise(of: Int.self)
        drained = promise
        each(Array(connections.values)[...]) { $0.drain() }
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

/// Counts connections. It may be used from any thread.
final class ConnectionCount: Sendable {
    private let count = Atomic(0)
    private let acceptedCount = Atomic<UInt64>(0)
    private let refusedCount = Atomic<UInt64>(0)
    private let limitCount = Atomic(HTTPLimits().connections)

    /// Connections that are open.
    var current: Int { count.load(ordering: .relaxed) }
    var accepted: UInt64 { acceptedCount.load(ordering: .relaxed) }
    /// Connections that were told that there are too many, and ended.
    var refused: UInt64 { refusedCount.load(ordering: .relaxed) }
    var limit: Int { limitCount.load(ordering: .relaxed) }

    func setLimit(_ limit: Int) { limitCount.store(limit, ordering: .relaxed) }

    /// Counts one more. Returns how many there are now.
    func open() -> Int {
        acceptedCount.wrappingAdd(1, ordering: .relaxed)
        return count.wrappingAdd(1, ordering: .relaxed).newValue
    }

    func noteRefusal() { refusedCount.wrappingAdd(1, ordering: .relaxed) }

    func close() { count.wrappingSubtract(1, ordering: .relaxed) }
}

package import Logging
internal import NIOCore
package import PantlerInsight
import PantlerModel
internal import PantlerSockets
package import PantlerStore
import Synchronization

/// The HTTP server: the listening socket and the event loops, from their start to their end.
///
/// One loop accepts connections and gives them to all loops (`LoopBalance`), so that a few long-lived ones are spread evenly. With a
/// listening socket for each loop (SO_REUSEPORT) the kernel would spread them by a hash, 32 connections as 20 to 12 at times, and a second
/// process could listen on the same port unnoticed. With as many loops as cores each loop may keep to its core (`HTTPOptions.pinsThreads`).
package final class HTTPServer: Sendable {
    private struct Running {
        let listener: ListeningSocket
        let loops: [LoopPlace]
    }

    /// A loop with its state, which only the loop may touch.
    private struct LoopPlace: Sendable {
        let eventLoop: SocketLoop
        private let state: NIOLoopBound<LoopState>

        init(eventLoop: SocketLoop, state: NIOLoopBound<LoopState>) {
            self.eventLoop = eventLoop
            self.state = state
        }

        var value: LoopState { state.value }
    }

    private let options: HTTPOptions
    private let store: Store
    private let router: Router
    private let tallies: [RequestTally]
    private let logger: Logger
    private let running = Mutex<Running?>(nil)

    /// - Parameter tallies: one for each event loop that there is to be, at least one.
    package init(
        _ options: HTTPOptions,
        store: Store,
        router: Router,
        tallies: [RequestTally],
        logger: Logger
    ) {
        self.options = options
        self.store = store
        self.router = router
        self.tallies = tallies
        router.connections.setLimit(options.limits.connections)
        self.logger = logger
    }

    /// The number of event loops where the configuration does not say how many: one for every two cores, at least one. The kernel's network
    /// work, the disk tier's threads and clients on this machine need the other cores. Measured on two cores, with the client on the same
    /// machine: for a client of one thread, one loop answers as many hits as two, and a quarter more durable puts; for a client on both
    /// cores, two loops answer 1.7 times as many hits.
    package static var defaultThreads: Int { max(1, System.coreCount / 2) }

    /// The port listened on; 0 before `start`, and from `drain` on.
    package var port: Int { running.withLock { $0?.listener.port } ?? 0 }

    /// Open connections.
    package var connections: Int { router.connections.current }

    /// Whether `drain` was called.
    package var isDraining: Bool { router.isDraining }

    /// Begins to listen. Connections are taken when this returns.
    ///
    /// - Throws: the system's error, for example that of an address that is in use.
    package func start() async throws {
        var loops: [LoopPlace] = []
        do {
            for (number, tally) in tallies.enumerated() {
                let stays = LoopStays(bounds: LatencyHistogram.bounds)
                let traffic = LoopTraffic()
                router.watch(stays, traffic)
                let eventLoop = try SocketLoop(name: "http-\(number)", stays: stays, traffic: traffic)
                loops.append(try await eventLoop.submit { self.loopState(eventLoop, tally) }.get())
            }
            let cores = options.pinsThreads ? Self.cores(for: loops.count) : Cores([])
            let listener = try listen(loops, LoopBalance(loops: loops.count, cores: cores))
            try await listener.loop.submit { try listener.start() }.get()
            // The loops are pinned last: a thread that a pinned loop starts, for example to go on here, would begin on the loop's core.
            for (loop, core) in zip(loops, cores.numbers) {
                loop.eventLoop.execute { Cores([core]).keepThisThread() }
            }
            let started = loops
            running.withLock { $0 = Running(listener: listener, loops: started) }
        } catch {
            for loop in loops { try await loop.eventLoop.shutdownGracefully() }
            throw error
        }
    }

    /// An error of `start` in words, with what to do about it where that is known.
    package static func reason(_ error: any Error) -> String {
        "\(error)" + ((error as? IOError).map { limitAdvice($0.errnoCode) } ?? "")
    }

    /// The cores that loops are to keep to, one each, if there are as many loops as cores and more than one; otherwise none. Fewer loops
    /// run wherever there is room.
    private static func cores(for loops: Int) -> Cores {
        let cores = Cores.ofThisThread()
        return loops > 1 && cores.numbers.count == loops ? cores : Cores([])
    }

    private func listen(_ loops: [LoopPlace], _ balance: LoopBalance) throws -> ListeningSocket {
        try ListeningSocket(
            on: loops[0].eventLoop,
            at: try SocketAddress.makeAddressResolvingHost(options.host, port: options.port),
            accepted: { descriptor, core in
                let number = balance.open(at: core)
                let loop = loops[number]
                loop.eventLoop.perform { Self.begin(descriptor, loop) { balance.close(at: number) } }
            },
            failed: { [logger] error in
                logger.warning(
                    "Connections cannot be taken; tried again until they can",
                    metadata: ["error": "\(error)\(limitAdvice(error.errnoCode))"]
                )
            }
        )
    }

    /// Begins a connection. Called on its loop.
    private static func begin(_ descriptor: CInt, _ loop: LoopPlace, _ ended: @escaping @Sendable () -> Void) {
        let socket = StreamSocket(taking: descriptor, on: loop.eventLoop)
        socket.closeFuture.whenComplete { _ in ended() }
        do {
            let connection = try assemble(socket.pipeline.syncOperations, loop.value)
            connection.socket = socket
            socket.reader = connection
            socket.start()
        } catch {
            socket.close(promise: nil)
        }
    }

    /// Puts a connection's handlers in place.
    @discardableResult
    static func assemble(_ pipeline: ChannelPipeline.SynchronousOperations, _ loop: LoopState) throws -> Connection {
        let parts = DecodedParts()
        let connection = Connection(loop, parts: parts)
        try pipeline.addHandler(connection)
        try pipeline.addHandler(parts)
        return connection
    }

    private func loopState(_ eventLoop: SocketLoop, _ tally: RequestTally) -> LoopPlace {
        let state = LoopState(
            eventLoop: eventLoop,
            store: store,
            router: router,
            tally: tally,
            logger: logger,
            openConnections: router.connections,
            limits: options.limits,
            hosts: ServedHosts(options.allowedHosts, address: options.host),
            access: options.access
        )
        return LoopPlace(eventLoop: eventLoop, state: NIOLoopBound(state, eventLoop: eventLoop))
    }

    /// Returns once each event loop has come round, which a loop that hangs never does.
    package func comesRound() async {
        for loop in running.withLock({ $0?.loops ?? [] }) { try? await loop.eventLoop.submit {}.get() }
    }

    /// Sets other limits, names and wishes for the access log, for what begins from now on.
    package func reload(limits: HTTPLimits, allowedHosts: [String], access: AccessOptions) {
        let hosts = ServedHosts(allowedHosts, address: options.host)
        router.flight.setLimit(limits.bytesInFlight)
        router.connections.setLimit(limits.connections)
        for loop in running.withLock({ $0?.loops ?? [] }) {
            loop.eventLoop.execute { loop.value.reload(limits, hosts, access) }
        }
    }

    /// Stops the server: it takes no connection any more, answers the requests that have begun, closes idle connections, and after
    /// `timeout` all that are left. At the end it stops the event loops, so that nothing may need them any more.
    ///
    /// - Returns: how many connections had to be cut off.
    @discardableResult
    package func drain(within timeout: Duration) async throws -> Int {
        router.beginDraining()
        guard let running = running.withLock({ $0.take() }) else { return 0 }
        try await running.listener.loop.submit { running.listener.stop() }.get()
        let ends = running.loops.map { loop in
            loop.eventLoop.flatSubmit { loop.value.drain(within: TimeAmount(timeout)) }
        }
        var cutOff = 0
        for end in ends { cutOff += try await end.get() }
        // Nobody waits for the answers of long work any more, but it has to end before the store is closed.
        router.closeLongWork()
        for loop in running.loops { try await loop.eventLoop.shutdownGracefully() }
        return cutOff
    }
}

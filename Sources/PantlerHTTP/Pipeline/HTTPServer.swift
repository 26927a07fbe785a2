package import Logging
internal import NIOCore
internal import NIOPosix
package import PantlerInsight
package import PantlerStore
import Synchronization

/// The listening socket, its event loops, and what is to become of both.
///
/// One loop accepts and hands connections out to all in turn, so that a few long-lived ones are spread evenly; sockets of each
/// loop's own (SO_REUSEPORT) spread 32 connections by a hash instead, 20 to 12 at times, and would let a second process listen
/// on the same port unnoticed.
package final class HTTPServer: Sendable {
    private struct Running {
        let channel: any Channel
        let loops: [LoopPlace]
    }

    /// A loop, and its state as only the loop may touch it.
    private struct LoopPlace: Sendable {
        let eventLoop: any EventLoop
        private let state: NIOLoopBound<LoopState>

        init(eventLoop: any EventLoop, state: NIOLoopBound<LoopState>) {
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
    private let group: MultiThreadedEventLoopGroup
    private let openConnections = ConnectionCount()
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
        self.logger = logger
        group = MultiThreadedEventLoopGroup(numberOfThreads: max(1, tallies.count))
    }

    /// Event loops where the configuration does not say how many: one for every two cores, at least one. The kernel's network
    /// work, the disk tier's threads and whoever calls from this machine need the others: on two cores, with the caller on the
    /// same machine, one loop answers 1.5 times as many hits as two, each for three quarters of the CPU time.
    package static var defaultThreads: Int { max(1, System.coreCount / 2) }

    /// The port listened on; 0 before `start`.
    package var port: Int { running.withLock { $0?.channel.localAddress?.port } ?? 0 }

    /// Open connections.
    package var connections: Int { openConnections.current }

    /// Whether `drain` was called.
    package var isDraining: Bool { router.isDraining }

    /// Listens. Connections are taken when it returns.
    ///
    /// - Throws: the system's error, as of an address that is in use.
    package func start() async throws {
        var loops: [LoopPlace] = []
        for (eventLoop, tally) in zip(group.makeIterator(), tallies) {
            loops.append(try await eventLoop.submit { self.loopState(eventLoop, tally) }.get())
        }
        let children = loops
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 4096)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let loop = children.first(where: { $0.eventLoop === channel.eventLoop }) else { return }
                    try Self.assemble(channel.pipeline.syncOperations, loop.value)
                }
            }
        let channel = try await bootstrap.bind(host: options.host, port: options.port).get()
        running.withLock { $0 = Running(channel: channel, loops: loops) }
    }

    /// Puts a connection's handlers in place.
    static func assemble(_ pipeline: ChannelPipeline.SynchronousOperations, _ loop: LoopState) throws {
        let parts = DecodedParts()
        try pipeline.addHandler(Connection(loop, parts: parts))
        try pipeline.addHandler(parts)
    }

    private func loopState(_ eventLoop: any EventLoop, _ tally: RequestTally) -> LoopPlace {
        let state = LoopState(
            eventLoop: eventLoop,
            store: store,
            router: router,
            tally: tally,
            logger: logger,
            openConnections: openConnections,
            limits: options.limits,
            hosts: ServedHosts(options.allowedHosts, address: options.host)
        )
        return LoopPlace(eventLoop: eventLoop, state: NIOLoopBound(state, eventLoop: eventLoop))
    }

    /// Has other limits and names hold, for what begins from now on.
    package func reload(limits: HTTPLimits, allowedHosts: [String]) {
        let hosts = ServedHosts(allowedHosts, address: options.host)
        for loop in running.withLock({ $0?.loops ?? [] }) {
            loop.eventLoop.execute { loop.value.reload(limits, hosts) }
        }
    }

    /// Stops: takes no connection any more, answers the requests that have begun, closes idle connections, and after `timeout` all
    /// that are left. Ends the event loops: call it last of all that needs them.
    ///
    /// - Returns: how many connections had to be cut off.
    @discardableResult
    package func drain(within timeout: Duration) async throws -> Int {
        router.beginDraining()
        var cutOff = 0
        if let running = running.withLock({ $0 }) {
            try? await running.channel.close()
            let ends = running.loops.map { loop in
                loop.eventLoop.flatSubmit { loop.value.drain(within: TimeAmount(timeout)) }
            }
            for end in ends { cutOff += try await end.get() }
        }
        try await group.shutdownGracefully()
        return cutOff
    }
}

internal import Glibc
package import Logging
internal import NIOCore
package import PantlerInsight
import PantlerModel
package import PantlerSockets
package import PantlerStore
import Synchronization

/// The HTTP server: the listening sockets and the event loops, from their start to their end.
///
/// One loop accepts connections and gives them to all loops (`LoopBalance`), so that a few long-lived ones are spread evenly. With a
/// listening socket for each loop (SO_REUSEPORT) the kernel would spread them by a hash, 32 connections as 20 to 12 at times, and a second
/// process could listen on the same port unnoticed. With as many loops as cores each loop may keep to its core (`HTTPOptions.pinsThreads`).
package final class HTTPServer: Sendable {
    private struct Running {
        /// In the order of `HTTPOptions.listeners`.
        let listeners: [[ListeningSocket]]
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
    private let inherited: [InheritedSocket]
    private let store: Store
    private let router: Router
    private let tallies: [RequestTally]
    private let logger: Logger
    private let running = Mutex<Running?>(nil)
    /// What TLS is spoken with; `nil` where no listener speaks it.
    private let tls = Mutex<TLSMaterial?>(nil)

    /// - Parameters:
    ///   - inherited: sockets that were handed over: each has to be that of a listener.
    ///   - tallies: one for each event loop that there is to be, at least one.
    package init(
        _ options: HTTPOptions,
        inherited: [InheritedSocket] = [],
        store: Store,
        router: Router,
        tallies: [RequestTally],
        logger: Logger
    ) {
        self.options = options
        self.inherited = inherited
        self.store = store
        self.router = router
        self.tallies = tallies
        router.connections.setLimits(options.limits)
        self.logger = logger
        router.watchTokens { [weak self] in self?.tokensChanged() }
    }

    /// The number of event loops where the configuration does not say how many: one for every two cores, at least one. The kernel's network
    /// work, the disk tier's threads and clients on this machine need the other cores. Measured on two cores, with the client on the same
    /// machine: for a client of one thread, one loop answers as many hits as two, and a quarter more durable puts; for a client on both
    /// cores, two loops answer 1.7 times as many hits.
    package static var defaultThreads: Int { max(1, System.coreCount / 2) }

    /// The port of the first listener; 0 where that is a Unix socket, before `start`, and from `drain` on.
    package var port: Int { running.withLock { $0?.listeners.first?.first?.port } ?? 0 }

    /// Where the server listens; nothing before `start`.
    package var listenerFacts: [ListenerFacts] { router.listenerFacts }

    /// Open connections.
    package var connections: Int { router.connections.current }

    /// Whether `drain` was called.
    package var isDraining: Bool { router.isDraining }

    /// Begins to listen. Connections are taken when this returns.
    ///
    /// - Throws: `ListenError`, for example of an address that is in use; a `TLSFault`; or the system's error.
    package func start() async throws {
        if let options = options.tls { take(try TLSMaterial(options, now: Self.now)) }
        router.handshakes.setLimit(options.limits.handshakes)
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
            let balance = LoopBalance(loops: loops.count, cores: cores)
            let listeners = try await listen(loops, balance)
            // The loops are pinned last: a thread that a pinned loop starts, for example to go on here, would begin on the loop's core.
            for (loop, core) in zip(loops, cores.numbers) {
                loop.eventLoop.execute { Cores([core]).keepThisThread() }
            }
            let started = loops
            tell(facts(listeners))
            running.withLock { $0 = Running(listeners: listeners, loops: started) }
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

    /// Takes connections at all places, or at none.
    private func listen(_ loops: [LoopPlace], _ balance: LoopBalance) async throws -> [[ListeningSocket]] {
        let eventLoop = loops[0].eventLoop
        let listeners = try ListenerSockets(options.listeners, inherited).all.enumerated().map { door, sockets in
            sockets.map { listener($0, door: door, loops, balance) }
        }
        do {
            for listener in listeners.joined() { try await eventLoop.submit { try listener.start() }.get() }
        } catch {
            for listener in listeners.joined() { try await eventLoop.submit { listener.stop() }.get() }
            throw error
        }
        return listeners
    }

    private func listener(
        _ socket: BoundSocket,
        door: Int,
        _ loops: [LoopPlace],
        _ balance: LoopBalance
    ) -> ListeningSocket {
        let isPlain = !options.listeners[door].speaksTLS
        return ListeningSocket(
            socket,
            on: loops[0].eventLoop,
            accepted: { [connections = router.connections, isPlain] descriptor, peer, core in
                if case .refused(let why) = connections.admit(peer, isPlain: isPlain) {
                    return Self.refuse(descriptor, why, isPlain: isPlain)
                }
                let number = balance.open(at: core)
                let loop = loops[number]
                loop.eventLoop.perform {
                    Self.begin(descriptor, Entrance(door: door, peer: peer), loop) {
                        connections.release(peer)
                        balance.close(at: number)
                    }
                }
            },
            failed: { [logger] error in
                logger.warning(
                    "Connections cannot be taken; tried again until they can",
                    metadata: ["error": "\(error)\(limitAdvice(error.errnoCode))"]
                )
            }
        )
    }

    /// Ends a connection where it was accepted.
    ///
    /// - Parameter isPlain: whether the client can be told why. One that speaks TLS would have to be let in for that.
    private static func refuse(_ descriptor: CInt, _ why: ConnectionCount.Refusal, isPlain: Bool) {
        guard isPlain else { return StreamSocket.refuse(descriptor, with: ByteBuffer()) }
        let problem =
            switch why {
            case .limit: Problem.allConnections
            case .peer: Problem.allConnectionsOfPeer
            }
        var answer = ByteBuffer()
        let frame = AnswerFrame(connection: .close, date: HTTPDate.now().date)
        Response(problem: problem, operation: .other).write(frame, to: &answer)
        StreamSocket.refuse(descriptor, with: answer)
    }

    /// What there is to tell of the listeners, with the ports that they have.
    private func facts(_ listeners: [[ListeningSocket]]) -> [ListenerFacts] {
        zip(options.listeners, listeners).map { listener, sockets in
            var facts = ListenerFacts(listener)
            if case .port(let host, 0) = listener.place {
                facts.place = .port(host: host, port: sockets.first?.port ?? 0)
            }
            facts.isInherited = sockets.contains(where: \.isInherited)
            return facts
        }
    }

    /// The same with what TLS is spoken with.
    private func tell(_ facts: [ListenerFacts]) {
        let material = tls.withLock { $0 }
        router.setListenerFacts(
            facts.map { facts in
                guard facts.tls, let material else { return facts }
                var facts = facts
                facts.clientCertificates = material.asksForCertificates
                facts.certificateExpiresAt = material.expiresAt * 1000
                return facts
            }
        )
    }

    /// Begins a connection. Called on its loop.
    private static func begin(
        _ descriptor: CInt,
        _ entrance: Entrance,
        _ loop: LoopPlace,
        _ ended: @escaping @Sendable () -> Void
    ) {
        let socket = StreamSocket(taking: descriptor, on: loop.eventLoop)
        socket.closeFuture.whenComplete { _ in ended() }
        do {
            let connection = try assemble(socket.pipeline.syncOperations, loop.value, entrance)
            if loop.value.doors[entrance.door].speaksTLS {
                try secure(connection, socket, loop.value.doors[entrance.door])
            } else {
                connection.socket = socket
                socket.reader = connection
            }
            socket.start()
        } catch {
            socket.close(promise: nil)
        }
    }

    /// Puts a connection's handlers in place.
    @discardableResult
    static func assemble(
        _ pipeline: ChannelPipeline.SynchronousOperations,
        _ loop: LoopState,
        _ entrance: Entrance
    ) throws -> Connection {
        let parts = DecodedParts()
        let connection = Connection(loop, entrance, parts: parts)
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
            doors: doors(options),
            access: options.access
        )
        return LoopPlace(eventLoop: eventLoop, state: NIOLoopBound(state, eventLoop: eventLoop))
    }

    /// One for each listener.
    private func doors(_ new: HTTPOptions) -> [Door] {
        let tls = tls.withLock { $0 }
        return options.listeners.map { listener in
            var door = Door(listener, new)
            if listener.speaksTLS { door.tls = tls }
            return door
        }
    }

    /// Returns once each event loop has come round, which a loop that hangs never does.
    package func comesRound() async {
        for loop in running.withLock({ $0?.loops ?? [] }) { try? await loop.eventLoop.submit {}.get() }
    }

    /// Sets other options, for what begins from now on: those that are live.
    package func reload(_ new: HTTPOptions) {
        let doors = doors(new)
        router.flight.setLimit(new.limits.bytesInFlight)
        router.connections.setLimits(new.limits)
        router.handshakes.setLimit(new.limits.handshakes)
        for loop in running.withLock({ $0?.loops ?? [] }) {
            loop.eventLoop.execute { loop.value.reload(new.limits, doors, new.access) }
        }
    }

    /// Ends what waits under tokens that are good for nothing any more. To be called after tokens were taken away otherwise than by a call.
    package func tokensChanged() {
        for loop in running.withLock({ $0?.loops ?? [] }) {
            loop.eventLoop.execute { loop.value.endWaitsOfLostTokens() }
        }
    }

    /// Tells by `/readyz` that the server will stop, and goes on as before.
    package func announceStop() { router.beginStopping() }

    /// How long a connection may be without its request while the listening goes over to another process: a client that came just
    /// before would be refused otherwise, whom the next process would have served.
    private static let handOverGrace = TimeAmount.milliseconds(300)

    // MARK: TLS

    /// Puts TLS between a connection and its socket.
    private static func secure(_ connection: Connection, _ socket: StreamSocket, _ door: Door) throws {
        // Without it nothing may be said: what is secret would go over the wire as it is.
        guard let tls = door.tls else { throw ChannelError.operationUnsupported }
        let stream = TLSStream(connection.loop, socket, tls, connection.peer)
        try socket.pipeline.syncOperations.addHandler(stream, position: .first)
        stream.connection = connection
        connection.secured = stream
        socket.reader = stream
    }

    /// Reads certificate, key and CA anew, for connections that begin from now on; the others go on as they began. Not for an event loop.
    ///
    /// - Returns: what an operator should know of them, as sentences.
    /// - Throws: why they cannot be used: those from before stay in use.
    @discardableResult
    package func reloadTLS(_ new: TLSOptions) throws(TLSFault) -> [String] {
        let material = try TLSMaterial(new, now: Self.now)
        take(material)
        for loop in running.withLock({ $0?.loops ?? [] }) {
            loop.eventLoop.execute { loop.value.reload(tls: material) }
        }
        return material.doubts
    }

    private func take(_ material: TLSMaterial) {
        tls.withLock { $0 = material }
        tell(router.listenerFacts)
        router.handshakes.setCertificateExpiry(material.expiresAt)
    }

    /// What an operator should know of the files that TLS is spoken with, as sentences.
    package var tlsDoubts: [String] { tls.withLock { $0?.doubts } ?? [] }

    /// The wall clock, in seconds since 1970.
    private static var now: Int64 { Int64(time(nil)) }

    /// Stops the server: it takes no connection any more, answers the requests that have begun, closes idle connections, and after
    /// `timeout` all that are left. At the end it stops the event loops, so that nothing may need them any more.
    ///
    /// - Returns: how many connections had to be cut off.
    @discardableResult
    package func drain(within timeout: Duration) async throws -> Int {
        router.beginDraining()
        guard let running = running.withLock({ $0.take() }) else { return 0 }
        for listener in running.listeners.joined() { try await listener.loop.submit { listener.stop() }.get() }
        let isHandOver = running.listeners.joined().contains(where: \.isInherited)
        let grace = min(TimeAmount(timeout), isHandOver ? Self.handOverGrace : .zero)
        let ends = running.loops.map { loop in
            loop.eventLoop.flatSubmit { loop.value.drain(within: TimeAmount(timeout), grace: grace) }
        }
        var cutOff = 0
        for end in ends { cutOff += try await end.get() }
        // Nobody waits for the answers of long work any more, but it has to end before the store is closed.
        router.closeLongWork()
        for loop in running.loops { try await loop.eventLoop.shutdownGracefully() }
        return cutOff
    }
}

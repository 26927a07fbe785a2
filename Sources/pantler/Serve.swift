internal import Glibc
internal import Logging
internal import PantlerCodec
internal import PantlerDisk
internal import PantlerHTTP
internal import PantlerInsight
internal import PantlerModel
internal import PantlerStore
internal import ServiceLifecycle
internal import Synchronization
internal import UnixSignals

/// The service, put together: the page to begin reading at.
///
/// A request comes in at `PantlerHTTP` (`Connection`), is answered out of `PantlerStore` (`Lookups`), which looks into
/// `PantlerMemory` (`MemoryShard`), and only then asks the lower tier, which is `PantlerDisk` here and handed to the store below.
struct Service {
    let configuration: ServeConfiguration
    let source: ConfigurationSource
    /// Whether the time line goes back to where it was before a start with a clock far ahead.
    let resetsClock: Bool
    let logger: Logger

    /// Serves until SIGTERM or SIGINT, then answers what is under way, writes what is queued, and returns.
    ///
    /// - Throws: what kept it from starting, as a sentence for the operator.
    func run() async throws {
        StraySignals.ignore()
        for passedOver in source.passedOver { logger.warning("\(passedOver)") }
        for doubt in configuration.doubts { logger.warning("\(doubt)") }
        // From here on a hang-up is a wish for another configuration, and no reason to end.
        let wishes = await UnixSignalsSequence(trapping: .sighup, .sigusr1)
        var diskOptions = configuration.disk.options
        diskOptions.cachedReads = threads
        let disk = try DiskTier.open(
            folder: configuration.dataDirectory,
            options: diskOptions,
            resettingClock: resetsClock ? .system() : nil,
            logger: Logger(label: "pantler.disk")
        )
        defer { disk.close() }
        let state = disk.persistedState()
        let clock = ServiceClock(readings: .system(), resuming: state.clockAnchor)
        let store = Store(configuration.storeOptions, clock: clock, lower: disk, state: state)
        do throws(TierFault) {
            try store.start()
        } catch {
            let path = configuration.dataDirectory + "/" + DiskTier.fileName
            throw error.cause == .full
                ? DiskOpenError.full(path: path, reason: error.description)
                : DiskOpenError.failed(path: path, reason: error.description)
        }
        defer { store.close() }
        let watch = ClockWatch(clock: clock, logger: logger)
        watch.tellOffset()
        watch.tellDoubt()

        let figures = Figures(maxDiskBytes: configuration.disk.maxDisk)
        let server = makeServer(store, figures)
        let manager = ServiceManager()
        let listening = ListeningService(
            server: server,
            configuration: configuration,
            manager: manager,
            logger: logger
        )
        let reloading = ReloadingService(
            source: source,
            configuration: configuration,
            wishes: wishes,
            disk: disk,
            store: store,
            server: server,
            figures: figures,
            logger: logger
        )
        var services: [any ServiceLifecycle.Service] = [listening, reloading, watch]
        if let manager, let pause = manager.watchdogPause {
            services.append(Watchdog(server: server, manager: manager, pause: pause))
        }
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: services.map { .init(service: $0) },
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: logger
            )
        )
        try await group.run()
        logger.info("Stopped")
    }

    /// Event loops.
    private var threads: Int {
        configuration.server.threads > 0 ? configuration.server.threads : HTTPServer.defaultThreads
    }

    private func makeServer(_ store: Store, _ figures: Figures) -> HTTPServer {
        let tallies = (0..<threads).map { _ in RequestTally() }
        var options = RouterOptions()
        options.document = OpenAPIDocument.bytes
        options.documentInJSON = { OpenAPIDocument.json }
        options.gzip = { Gzip.encode($0) }
        options.serverVersion = Build.version
        options.serverCommit = Build.commit
        options.figures = { figures.value }
        options.bytesInFlight = configuration.httpOptions.limits.bytesInFlight
        options.requestTallies = { tallies }
        return HTTPServer(
            configuration.httpOptions,
            store: store,
            router: Router(store, options),
            tallies: tallies,
            logger: Logger(label: "pantler.http")
        )
    }
}

/// What the metrics tell of the configuration in force.
private final class Figures: Sendable {
    private let figures = Mutex(ServiceFigures())

    init(maxDiskBytes: Int64) { noteReload(maxDiskBytes: maxDiskBytes) }

    var value: ServiceFigures { figures.withLock { $0 } }

    /// The configuration was read, and holds from now on.
    func noteReload(maxDiskBytes: Int64) {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        figures.withLock { figures in
            figures.maxDiskBytes = maxDiskBytes
            figures.isConfigurationCurrent = true
            figures.configurationReadSeconds = Double(now.tv_sec) + (Double(now.tv_nsec) / 1e6).rounded() / 1e3
        }
    }

    func noteRefusedReload() { figures.withLock { $0.isConfigurationCurrent = false } }
}

/// Why the service cannot listen.
private struct ListenError: Error, CustomStringConvertible {
    let host: String
    let port: Int
    let reason: String

    /// As a URL has it: an address of IPv6 in brackets (RFC 3986, section 3.2.2).
    static func place(_ host: String, _ port: Int) -> String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    var description: String {
        // What a limit has stopped is no matter of the place.
        let advice =
            reason.contains("ulimit") ? "" : " Choose another place with --host and --port, or end what listens there."
        return "Cannot listen at \(Self.place(host, port)): \(reason)." + advice
    }
}

/// Listens until the service is asked to stop, which from the first connection on ends it in order.
private struct ListeningService: ServiceLifecycle.Service, CustomStringConvertible {
    let server: HTTPServer
    let configuration: ServeConfiguration
    let manager: ServiceManager?
    let logger: Logger

    // Descriptions are what ServiceLifecycle logs: without one it would be the whole configuration.
    var description: String { "listening" }

    func run() async throws {
        let place = configuration.server
        do {
            try await server.start()
        } catch {
            throw ListenError(host: place.host, port: place.port, reason: HTTPServer.reason(error))
        }
        logger.info(
            "Serving",
            metadata: [
                "url": "http://\(ListenError.place(place.host, server.port))", "data": "\(configuration.dataDirectory)",
                "version": "\(Build.version)",
            ]
        )
        manager?.tell("READY=1")
        try? await gracefulShutdown()
        manager?.tell("STOPPING=1")
        logger.info("Stopping: running requests are answered, no new ones are taken")
        let cutOff = try await server.drain(within: place.shutdownTimeout)
        if cutOff > 0 { logger.warning("Connections were cut off", metadata: ["count": "\(cutOff)"]) }
    }
}

/// Reads the configuration again on SIGHUP, and applies what can be changed while the service runs. Answers SIGUSR1, with which
/// other servers are told to open their logs anew: this one's is standard error, so there is nothing to open.
private final class ReloadingService: ServiceLifecycle.Service, CustomStringConvertible {
    var description: String { "reloading" }

    let source: ConfigurationSource
    let configuration: Mutex<ServeConfiguration>
    let wishes: UnixSignalsSequence
    let disk: DiskTier
    let store: Store
    let server: HTTPServer
    let figures: Figures
    let logger: Logger

    init(
        source: ConfigurationSource,
        configuration: ServeConfiguration,
        wishes: UnixSignalsSequence,
        disk: DiskTier,
        store: Store,
        server: HTTPServer,
        figures: Figures,
        logger: Logger
    ) {
        self.figures = figures
        self.wishes = wishes
        self.disk = disk
        self.source = source
        self.configuration = Mutex(configuration)
        self.store = store
        self.server = server
        self.logger = logger
    }

    func run() async throws {
        for await signal in wishes.cancelOnGracefulShutdown() {
            if signal == .sighup {
                reload()
            } else {
                logger.notice("SIGUSR1: the log goes to standard error, and there is no file to open anew")
            }
        }
    }

    private func reload() {
        do {
            let reload = try configuration.withLock { old throws(ConfigurationError) in
                let reload = try source.reload(old)
                old = reload.configuration
                return reload
            }
            apply(reload.configuration)
            figures.noteReload(maxDiskBytes: reload.configuration.disk.maxDisk)
            for change in reload.applied { logger.notice("Reloaded", metadata: ["change": "\(change)"]) }
            for doubt in reload.configuration.doubts { logger.warning("\(doubt)") }
            for change in reload.needsRestart {
                logger.warning("Not reloaded: it takes a restart", metadata: ["change": "\(change)"])
            }
            if reload.applied.isEmpty, reload.needsRestart.isEmpty { logger.notice("Reloaded: nothing has changed") }
        } catch {
            figures.noteRefusedReload()
            for fault in error.faults { logger.error("Not reloaded", metadata: ["fault": "\(fault)"]) }
        }
    }

    private func apply(_ configuration: ServeConfiguration) {
        ProcessLog.setLevel(configuration.log.level)
        let options = configuration.storeOptions
        store.setLeaseLimits(options.leases)
        store.reconfigure(
            autoCreate: options.autoCreate,
            maxNamespaces: options.maxNamespaces,
            defaultPolicy: options.defaultPolicy
        )
        store.setMaxMemory(options.maxMemory)
        disk.setMaxFolderBytes(configuration.disk.maxDisk)
        let http = configuration.httpOptions
        server.reload(limits: http.limits, allowedHosts: http.allowedHosts, access: http.access)
    }
}

/// Tells systemd that the service lives, as long as each of its event loops comes round.
private struct Watchdog: ServiceLifecycle.Service, CustomStringConvertible {
    let server: HTTPServer
    let manager: ServiceManager
    let pause: Duration

    var description: String { "watchdog" }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                try? await Task.sleep(for: pause)
                await server.comesRound()
                manager.tell("WATCHDOG=1")
            }
        }
    }
}

/// Sees the machine's clock being set, so that moments are told as they are from then on.
private struct ClockWatch: ServiceLifecycle.Service, CustomStringConvertible {
    var description: String { "clock watch" }

    let clock: ServiceClock
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                if let step = clock.lookAtWall() {
                    logger.notice("The machine's clock was set", metadata: ["by": "\(seconds(step))", "ahead": ahead])
                }
                try? await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    /// Says how far the two are apart at the start, if anybody could notice.
    func tellOffset() {
        guard clock.wallOffset.magnitude >= 1000 else { return }
        logger.info("The machine's clock was set since the data folder was made", metadata: ["ahead": ahead])
    }

    /// Says that the clock may be wrong, and what to do then.
    func tellDoubt() {
        guard let doubt = clock.doubt else { return }
        logger.warning(
            "By the machine's clock it was off for long: what had a TTL counts as expired, and is kept on disk for a day. If the clock is wrong, set it, stop the service, and start it once with --reset-clock",
            metadata: ["days": "\(doubt.milliseconds / 86_400_000)"]
        )
    }

    /// Of the service's own time line; the metric pantler_clock_offset_seconds.
    private var ahead: Logger.MetadataValue { "\(seconds(clock.wallOffset))" }

    private func seconds(_ milliseconds: Int64) -> String { "\(Double(milliseconds) / 1000) s" }
}

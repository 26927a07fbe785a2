internal import Glibc
internal import Logging
internal import PantlerCodec
internal import PantlerDisk
internal import PantlerHTTP
internal import PantlerInsight
internal import PantlerModel
internal import PantlerSockets
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
        // The data folder's files have values and digests of tokens: they are nobody else's.
        umask(0o077)
        let tokensFile = try configuration.tokens.file.map { path throws(ConfigurationError) in
            try TokensFile.load(path)
        }
        for passedOver in source.passedOver { logger.warning("\(passedOver)") }
        for doubt in configuration.doubts { logger.warning("\(doubt)") }
        DescriptorLimit.raise()
        if let doubt = configuration.doubtOfDescriptors { logger.warning("\(doubt)") }
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
        try settleTokens(tokensFile, store)
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

    /// Gives the store the configuration's tokens, and sees that somebody can call where others than this machine are.
    ///
    /// - Throws: `ConfigurationError`.
    private func settleTokens(_ file: TokensFile?, _ store: Store) throws(ConfigurationError) {
        let twice = store.tokens.setConfigured(file?.tokens ?? [])
        guard twice.isEmpty else {
            throw ConfigurationError(faults: twice.map { configuration.fault(ofTokenMadeTwice: $0) })
        }
        for warning in file?.warnings ?? [] { logger.warning("\(warning)") }
        let now = store.moment().wall.milliseconds
        let count = store.tokens.list().count { ($0.expiresAt ?? .max) > now }
        let refusals = configuration.refusals(tokens: count)
        guard refusals.isEmpty else { throw ConfigurationError(faults: refusals) }
        for doubt in configuration.doubts(tokens: count) { logger.warning("\(doubt)") }
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
            inherited: InheritedSocket.ofProcess,
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

/// Listens until the service is asked to stop, which from the first connection on ends it in order.
private struct ListeningService: ServiceLifecycle.Service, CustomStringConvertible {
    let server: HTTPServer
    let configuration: ServeConfiguration
    let manager: ServiceManager?
    let logger: Logger

    // Descriptions are what ServiceLifecycle logs: without one it would be the whole configuration.
    var description: String { "listening" }

    func run() async throws {
        do {
            try await server.start()
        } catch let error as ListenError {
            throw error
        } catch let fault as TLSFault {
            throw fault
        } catch {
            throw StartError(description: "Cannot listen: \(HTTPServer.reason(error)).")
        }
        let places = server.listenerFacts.map { facts in
            if case .socket = facts.place { return facts.place.description }
            return "\(facts.tls ? "https" : "http")://\(facts.place)"
        }
        logger.info(
            "Serving",
            metadata: [
                "url": "\(places.joined(separator: ", "))", "data": "\(configuration.dataDirectory)",
                "version": "\(Build.version)",
            ]
        )
        for doubt in server.tlsDoubts { logger.warning("\(doubt)") }
        manager?.tell("READY=1")
        try? await gracefulShutdown()
        manager?.tell("STOPPING=1")
        if configuration.server.shutdownDelay > .zero { await announceStop() }
        logger.info("Stopping: running requests are answered, no new ones are taken")
        let cutOff = try await server.drain(within: configuration.server.shutdownTimeout)
        if cutOff > 0 { logger.warning("Connections were cut off", metadata: ["count": "\(cutOff)"]) }
    }

    /// Says by `/readyz` that the service goes, and goes on serving for a while, so that whoever sends it requests can see that and send no more.
    /// Another SIGTERM or SIGINT ends the while.
    private func announceStop() async {
        // ServiceLifecycle takes the first signal alone.
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
        server.announceStop()
        let delay = configuration.server.shutdownDelay
        logger.info(
            "Stopping soon: not ready any more, but all is served; another SIGTERM or SIGINT ends that",
            metadata: ["in": "\(Quantity.text(milliseconds: delay.milliseconds))"]
        )
        await withTaskGroup { group in
            group.addTask { try? await Task.sleep(for: delay) }
            group.addTask { for await _ in signals { return } }
            await group.next()
            group.cancelAll()
        }
    }
}

/// Why the service cannot start, as a sentence for the operator.
private struct StartError: Error, CustomStringConvertible {
    let description: String
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
        do throws(ConfigurationError) {
            let reload = try configuration.withLock { old throws(ConfigurationError) in
                let reload = try source.reload(old)
                old = reload.configuration
                return reload
            }
            apply(reload.configuration)
            figures.noteReload(maxDiskBytes: reload.configuration.disk.maxDisk)
            let faults = reloadTokens(reload.configuration) + reloadTLS(reload.configuration)
            for change in reload.applied { logger.notice("Reloaded", metadata: ["change": "\(change)"]) }
            for doubt in reload.configuration.doubts { logger.warning("\(doubt)") }
            if let doubt = reload.configuration.doubtOfDescriptors { logger.warning("\(doubt)") }
            for change in reload.needsRestart {
                logger.warning("Not reloaded: it takes a restart", metadata: ["change": "\(change)"])
            }
            let readsFiles = reload.configuration.tokens.file != nil || reload.configuration.httpOptions.tls != nil
            if reload.applied.isEmpty, reload.needsRestart.isEmpty, !readsFiles {
                logger.notice("Reloaded: nothing has changed")
            }
            guard faults.isEmpty else { throw ConfigurationError(faults: faults) }
        } catch {
            figures.noteRefusedReload()
            for fault in error.faults { logger.error("Not reloaded", metadata: ["fault": "\(fault)"]) }
        }
    }

    /// Reads the configuration's tokens anew. Where the file is bad the old ones stay.
    ///
    /// - Returns: what is wrong with it.
    private func reloadTokens(_ configuration: ServeConfiguration) -> [String] {
        do throws(ConfigurationError) {
            let file = try configuration.tokens.file.map { path throws(ConfigurationError) in try TokensFile.load(path)
            }
            for warning in file?.warnings ?? [] { logger.warning("\(warning)") }
            let refused = store.tokens.setConfigured(file?.tokens ?? [])
            server.tokensChanged()
            if let file {
                logger.notice("Reloaded: the tokens of tokens.file", metadata: ["count": "\(file.tokens.count)"])
            }
            for doubt in configuration.doubts(tokens: store.tokens.count) { logger.warning("\(doubt)") }
            return refused.map { configuration.fault(ofTokenMadeTwice: $0) }
        } catch {
            return error.faults
        }
    }

    /// Reads the files of TLS anew: they may be others although their names are the same. Where they are bad the old ones stay.
    ///
    /// - Returns: what is wrong with them.
    private func reloadTLS(_ configuration: ServeConfiguration) -> [String] {
        guard let tls = configuration.httpOptions.tls else { return [] }
        do {
            for doubt in try server.reloadTLS(tls) { logger.warning("\(doubt)") }
        } catch {
            return [error.description]
        }
        logger.notice("TLS: certificate and key are read")
        return []
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
        server.reload(configuration.httpOptions)
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

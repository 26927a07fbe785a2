internal import NIOCore
import PantlerInsight
import PantlerModel
import PantlerStore

// `/metrics`: everything that is counted, for Prometheus. Labels are bounded: namespaces, and fixed lists of names.

extension Router {
    func metrics(_ call: Call) -> Response {
        let format = Self.format(call.accept)
        var page = Exposition(format)
        page.gauge("pantler_build_info", "1, with the version that runs and the commit that it was built of.")
        page.sample(1, ["version": options.serverVersion, "commit": options.serverCommit])
        page.gauge("pantler_ready", "1 while /readyz says ok, 0 while it says why not.")
        page.sample(isReady ? 1 : 0)
        page.configuration(options.figures())
        let statistics = store.statistics()
        RequestFigures(options.requestTallies()).expose(to: &page)
        flight.figures.expose(to: &page)
        page.connections(connections, traffic)
        page.refusals(refusals, tokens: store.tokens.count)
        page.handshakes(handshakes)
        page.loops(loopStays, longCalls)
        page.gets(statistics)
        page.leases(statistics.namespaces, statistics.waits, waiters: store.leaseWaiters)
        page.writes(statistics.namespaces)
        page.contents(statistics)
        page.bounds(store.namespaces().map(\.record))
        if let disk = statistics.lower { page.disk(disk) }
        page.gauge(
            "pantler_clock_offset_seconds",
            "What the wall clock is ahead of the service's time line; moves when the machine's clock is set."
        )
        page.sample(Double(store.wallOffset) / 1000)
        ProcessFigures().expose(to: &page)
        return Response(
            status: 200,
            contentType: format.contentType,
            headers: Response.notStored,
            body: ByteBuffer(bytes: page.finish()),
            operation: .metrics
        )
    }

    /// OpenMetrics for a client that names it, and does not like plain text better.
    static func format(_ accept: Accept) -> Exposition.Format {
        guard let open = accept.named("application/openmetrics-text"), open > 0 else { return .prometheus }
        return open >= accept.quality(of: "text/plain") ? .openMetrics : .prometheus
    }
}

extension Exposition {
    fileprivate mutating func configuration(_ figures: ServiceFigures) {
        gauge(
            "pantler_config_last_reload_successful",
            "1 if the configuration that was read last holds, 0 if it was refused and the one before it holds."
        )
        sample(figures.isConfigurationCurrent ? 1 : 0)
        if let seconds = figures.configurationReadSeconds {
            gauge(
                "pantler_config_last_reload_success_timestamp_seconds",
                "When the configuration that holds was read, in seconds since 1970."
            )
            sample(seconds)
        }
        if let bytes = figures.maxDiskBytes {
            gauge("pantler_disk_limit_bytes", "Bytes that the data folder may have (disk.max_disk).")
            sample(bytes)
        }
    }

    fileprivate mutating func connections(_ connections: ConnectionCount, _ traffic: (received: UInt64, sent: UInt64)) {
        gauge("pantler_connections", "Connections that are open.")
        sample(connections.current)
        gauge("pantler_connections_limit", "Connections that may be open (limits.connections).")
        sample(connections.limit)
        counter("pantler_connections_accepted", "Connections that were taken, those that were then refused included.")
        sample(connections.accepted)
        counter(
            "pantler_connections_refused",
            "Connections that were ended at once, since too many were open: of all (limit), or of one peer (peer)."
        )
        for reason in ConnectionCount.Refusal.allCases {
            sample(connections.refused(reason), ["reason": reason.rawValue])
        }
        counter(
            "pantler_slow_clients",
            "Clients that were given up, since a head or a body came too slowly, or answers were taken too slowly."
        )
        for what in ConnectionCount.Slowness.allCases { sample(connections.slow(what), ["what": what.rawValue]) }
        counter("pantler_received_bytes", "Bytes that were received over connections.")
        sample(traffic.received)
        counter("pantler_sent_bytes", "Bytes that were sent over connections.")
        sample(traffic.sent)
    }

    fileprivate mutating func refusals(_ figures: RefusalFigures, tokens: Int) {
        counter(
            "pantler_auth_failures",
            "Requests that were refused for who made them: without a token, with a worthless one, with one that does not allow it, by a page of another site, or too many a second."
        )
        for reason in RefusalReason.allCases { sample(figures.count(reason), ["reason": reason.name]) }
        counter(
            "pantler_auth_delayed",
            "Worthless tokens that were answered a second later, since their peer had shown too many."
        )
        sample(figures.delayed)
        gauge("pantler_tokens", "Tokens that there are, those of the configuration included.")
        sample(tokens)
    }

    fileprivate mutating func handshakes(_ handshakes: Handshakes) {
        counter(
            "pantler_tls_handshakes",
            "TLS handshakes that are over, by what became of them: done, failed, timeout (limits.handshake_timeout), refused (limits.handshakes)."
        )
        for outcome in Handshakes.Outcome.allCases {
            sample(handshakes.count(of: outcome), ["outcome": outcome.rawValue])
        }
        gauge("pantler_tls_handshakes_under_way", "TLS handshakes that are under way, of limits.handshakes at most.")
        sample(handshakes.underWay)
        gauge("pantler_tls_handshakes_waiting", "TLS handshakes that wait until others are over.")
        sample(handshakes.waiting)
        if handshakes.certificateExpiry > 0 {
            gauge(
                "pantler_tls_certificate_expires_seconds",
                "When the certificate that is shown to clients expires, in seconds since 1970."
            )
            sample(handshakes.certificateExpiry)
        }
    }

    /// Writes the bounds of namespaces. A namespace without a bound has no sample.
    fileprivate mutating func bounds(_ records: [NamespaceRecord]) {
        bound(
            "pantler_namespace_memory_limit_bytes",
            "Bytes that a namespace may have in memory (max_memory).",
            records
        ) {
            $0.maxMemory
        }
        bound("pantler_namespace_entries_limit", "Entries that a namespace may have in memory (max_entries).", records)
        {
            $0.maxEntries
        }
        bound("pantler_namespace_disk_limit_bytes", "Bytes that a namespace may have on disk (max_disk).", records) {
            $0.maxDisk
        }
    }

    private mutating func bound(
        _ name: String,
        _ help: String,
        _ records: [NamespaceRecord],
        _ bound: (Policy) -> Int64?
    ) {
        gauge(name, help)
        for record in records {
            if let value = bound(record.policy) { sample(value, ["namespace": record.name.description]) }
        }
    }

    fileprivate mutating func loops(_ stays: LatencyHistogram, _ longCalls: UInt64) {
        histogram(
            "pantler_loop_stall_seconds",
            "How long one event held an event loop, so that all others of that loop waited: what one connection brought, a timer, an answer."
        )
        sample(stays)
        counter("pantler_long_requests", "Requests that were answered off the event loops, since they take long.")
        sample(longCalls)
    }

    fileprivate mutating func gets(_ statistics: StoreStatistics) {
        let namespaces = statistics.namespaces
        counter(
            "pantler_hits",
            "Gets that found their entry, by namespace and tier; stale hits are in it, under the tier stale: leave that out for the fresh ones."
        )
        for namespace in namespaces {
            for tier in Tier.allCases {
                sample(
                    namespace.figures.tally.hits(tier),
                    ["namespace": namespace.name.description, "tier": tier.rawValue]
                )
            }
            sample(
                namespace.figures.tally.hitsStale,
                ["namespace": namespace.name.description, "tier": "stale"]
            )
        }
        counter(
            "pantler_absent_hits",
            "Gets that a negative entry answered, by namespace: neither hits nor misses."
        )
        for namespace in namespaces {
            sample(namespace.figures.tally.hitsAbsent, ["namespace": namespace.name.description])
        }
        counter("pantler_misses", "Gets that found nothing, by namespace (also one that is not there) and reason.")
        for namespace in namespaces {
            for reason in MissReason.allCases {
                sample(
                    namespace.figures.tally.misses(reason),
                    ["namespace": namespace.name.description, "reason": reason.name]
                )
            }
        }
        // These are gets of namespaces that are not there. Those of names that are not remembered have an empty name.
        for (name, gets) in statistics.unmet + [("", statistics.unnamedGets)] {
            sample(gets, ["namespace": name, "reason": MissReason.absent.name])
        }
    }

    fileprivate mutating func leases(_ namespaces: [NamespaceStatistics], _ waits: LatencyHistogram, waiters: Int) {
        counter("pantler_leases", "What has become of leases and of requests for them, by namespace and event.")
        for namespace in namespaces {
            let tally = namespace.figures.tally
            for (event, count) in [
                ("given", tally.leasesGiven), ("filled", tally.leasesFilled), ("refused", tally.leasesRefused),
                ("lost", tally.leasesLost), ("expired", tally.leasesExpired), ("released", tally.leasesReleased),
                ("failed", tally.leasesFailed), ("early", tally.earlyRefreshes),
            ] { sample(count, ["namespace": namespace.name.description, "event": event]) }
        }
        perNamespace(
            "pantler_leases_running",
            "Leases that are held: loads that are under way.",
            namespaces,
            isGauge: true
        ) {
            Double($0.tally.leasesRunning)
        }
        gauge("pantler_lease_waiters", "Callers that wait for somebody else's fill.")
        sample(waiters)
        perNamespace("pantler_lease_waits", "Waits for somebody else's fill that have ended.", namespaces) {
            Double($0.tally.waits)
        }
        perNamespace("pantler_lease_wait_seconds", "How long these waits took together.", namespaces) {
            Double($0.tally.waitMicroseconds) / 1e6
        }
        histogram(
            "pantler_lease_wait_duration_seconds",
            "How long each wait for somebody else's fill took, of all namespaces together."
        )
        sample(waits)
        perNamespace("pantler_load_seconds", "How long the loads of filled leases took together.", namespaces) {
            Double($0.tally.loadMicroseconds) / 1e6
        }
        perNamespace(
            "pantler_loads_avoided",
            "Loads that hits have spared: all hits, of whichever tier, stale ones too.",
            namespaces
        ) { Double($0.tally.hits) }
        perNamespace(
            "pantler_loads_saved_seconds",
            "Loads that hits have spared: hits times the mean length of the namespace's loads.",
            namespaces,
            isGauge: true
        ) { $0.savedSeconds }
    }

    private mutating func perNamespace(
        _ name: String,
        _ help: String,
        _ namespaces: [NamespaceStatistics],
        isGauge: Bool = false,
        _ value: (Figures) -> Double
    ) {
        if isGauge { gauge(name, help) } else { counter(name, help) }
        for namespace in namespaces { sample(value(namespace.figures), ["namespace": namespace.name.description]) }
    }

    fileprivate mutating func writes(_ namespaces: [NamespaceStatistics]) {
        counter("pantler_writes", "Writes that were carried out, by namespace and kind.")
        for namespace in namespaces {
            let tally = namespace.figures.tally
            for (kind, count) in [
                ("put", tally.puts), ("touch", tally.touches), ("counter", tally.counters), ("delete", tally.deletes),
            ] { sample(count, ["namespace": namespace.name.description, "kind": kind]) }
        }
        counter("pantler_invalidations", "Calls of invalidate that were carried out, by namespace.")
        for namespace in namespaces {
            sample(namespace.figures.tally.invalidations, ["namespace": namespace.name.description])
        }
        counter("pantler_expirations", "Entries that left memory because their time was over, by namespace.")
        for namespace in namespaces {
            sample(namespace.figures.tally.expirations, ["namespace": namespace.name.description])
        }
        counter("pantler_tier_faults", "Calls of the lower tier that ended in a fault, by namespace.")
        for namespace in namespaces {
            sample(namespace.figures.tally.tierFaults, ["namespace": namespace.name.description])
        }
    }

    fileprivate mutating func contents(_ statistics: StoreStatistics) {
        let hasDisk = statistics.lower != nil
        perTier("pantler_entries", "Entries that are held, by namespace and tier.", statistics, hasDisk) {
            ($0.memory.entries, $0.lower.entries)
        }
        perTier("pantler_bytes", "Bytes that entries take, by namespace and tier.", statistics, hasDisk) {
            ($0.memory.bytes, $0.lower.bytes)
        }
        counter("pantler_evictions", "Entries that made room for others, by namespace and tier.")
        for namespace in statistics.namespaces {
            let name = namespace.name.description
            sample(namespace.figures.memoryEvictions, ["namespace": name, "tier": Tier.memory.rawValue])
            if hasDisk { sample(namespace.figures.lowerEvictions, ["namespace": name, "tier": Tier.disk.rawValue]) }
        }
        gauge("pantler_namespaces", "Namespaces that there are.")
        sample(statistics.namespaces.count)
        gauge("pantler_memory_tier_bytes", "Bytes that the memory tier holds from the system, its own tables included.")
        sample(statistics.memoryBytes)
        gauge("pantler_memory_tier_limit_bytes", "Bytes that the memory tier may hold.")
        sample(statistics.memoryLimit)
    }

    private mutating func perTier(
        _ name: String,
        _ help: String,
        _ statistics: StoreStatistics,
        _ hasDisk: Bool,
        _ values: (Figures) -> (memory: Int64, disk: Int64)
    ) {
        gauge(name, help)
        for namespace in statistics.namespaces {
            let (memory, disk) = values(namespace.figures)
            sample(memory, ["namespace": namespace.name.description, "tier": Tier.memory.rawValue])
            if hasDisk { sample(disk, ["namespace": namespace.name.description, "tier": Tier.disk.rawValue]) }
        }
    }

    fileprivate mutating func disk(_ disk: TierHealth) {
        gauge("pantler_disk_up", "1 while the disk tier works, 0 while it has a fault.")
        sample(disk.fault == nil ? 1 : 0)
        gauge("pantler_write_behind_queue_entries", "Changes that wait to be written to disk.")
        sample(disk.queueEntries)
        gauge("pantler_write_behind_queue_bytes", "Bytes of the changes that wait to be written to disk.")
        sample(disk.queueBytes)
        gauge("pantler_write_behind_queue_age_seconds", "For how long the oldest change has waited.")
        sample(Double(max(0, disk.queueAgeMilliseconds)) / 1000)
        counter("pantler_compression_input_bytes", "Bytes of values that were offered to the deflater.")
        sample(disk.compressionInBytes)
        counter("pantler_compression_output_bytes", "What these bytes became on disk, deflated or plain.")
        sample(disk.compressionOutBytes)
        gauge("pantler_sqlite_file_bytes", "Size of the database file.")
        sample(disk.fileBytes)
        gauge("pantler_sqlite_wal_bytes", "Size of the database's write-ahead log.")
        sample(disk.walBytes)
        counter("pantler_disk_commits", "Transactions that were committed to disk.")
        sample(disk.commits)
        counter("pantler_disk_committed_changes", "Changes that were committed to disk.")
        sample(disk.committedChanges)
        counter("pantler_disk_expirations", "Entries that left the disk because their time was over.")
        sample(disk.expirations)
        counter("pantler_disk_corruptions", "Entries that could not be read back as they were written.")
        sample(disk.corruptions)
        counter("pantler_disk_lost_writes", "Changes that were given up because they could not be written.")
        sample(disk.lostWrites)
        counter("pantler_disk_read_faults", "Reads of the disk that failed.")
        sample(disk.readFaults)
    }
}
